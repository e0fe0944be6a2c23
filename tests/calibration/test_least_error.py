from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantlib.calibration.least_error import grids, lp_range
from quantlib.calibration.mass import Distribution
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.stats import MinMaxQuantizationStats


@st.composite
def options(draw: st.DrawFn) -> QuantizationOptions:
    n_bits = draw(st.integers(1, 16))
    signed, qat = draw(st.booleans()), draw(st.booleans())
    symmetric = signed and not qat and n_bits > 1 and draw(st.booleans())
    return QuantizationOptions(n_bits, is_signed=signed, is_symmetric=symmetric, is_qat=qat)


ends = st.floats(-1e6, 1e6, width=32)


@given(
    st.lists(st.tuples(ends, ends), min_size=1, max_size=8),
    st.sampled_from([np.float32, np.float64]),
    options(),
)
def test_grids_of_many_ranges_are_those_of_the_quantizer(
    pairs: list[tuple[float, float]], kind: Any, chosen: QuantizationOptions
) -> None:
    ranges = np.sort(np.array(pairs, dtype=kind) / 3, axis=1)
    ranges = ranges[ranges[:, 1] - ranges[:, 0] >= 1e-6]
    scales, zero_points = grids(ranges, chosen)
    for (low, high), scale, zero_point in zip(ranges, scales, zero_points, strict=True):
        stats = MinMaxQuantizationStats(rmin=low, rmax=high)
        params = UniformQuantizationParameters.from_stats(chosen, stats)
        assert (params.scale, params.zero_point) == (scale, zero_point)


def test_values_on_a_grid_keep_it() -> None:
    x = np.arange(16) * 0.25 - 1.0
    pieces = Distribution.from_values(x)
    extremes = MinMaxQuantizationStats.from_values(x)
    assert lp_range(pieces, pieces, extremes, QuantizationOptions(4), 2.0) == (-1.0, 2.75)


def test_one_far_value_is_clipped_at_few_bits_and_kept_at_many() -> None:
    x = np.append(np.linspace(-1, 1, 10_001), 30.0)
    pieces = Distribution.from_values(x)
    extremes = MinMaxQuantizationStats.from_values(x)
    _, few = lp_range(pieces, pieces, extremes, QuantizationOptions(2), 2.0)
    _, many = lp_range(pieces, pieces, extremes, QuantizationOptions(12), 2.0)
    assert few < 3
    assert many > 29
