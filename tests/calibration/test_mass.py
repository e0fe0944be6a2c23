from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from quantlib.calibration.mass import Distribution
from quantlib.calibration.statistics import measure

values = arrays.arrays(np.float64, st.integers(1, 30), elements=st.floats(-50, 50, width=16))
exponents = st.sampled_from([1.0, 2.0, 2.4, 5.0])


@given(values, st.floats(0.01, 30), st.integers(-5, 20), st.integers(1, 8), exponents)
def test_the_error_of_points_is_the_mean_of_their_errors(
    x: Any, scale: float, zero: int, n_bits: int, p: float
) -> None:
    qmax = 2**n_bits - 1
    rounded = (np.clip(np.rint(x / scale) + zero, 0, qmax) - zero) * scale
    (found,) = Distribution.from_values(x).grid_errors(
        np.array([scale]), np.array([float(zero)]), 0, qmax, p
    )
    assert found == pytest.approx(np.mean(np.abs(x - rounded) ** p), rel=1e-6, abs=1e-9)


@given(
    st.floats(-20, 20, width=16),
    st.floats(0.5, 30, width=16),
    st.floats(0.05, 5),
    st.integers(0, 15),
    exponents,
)
def test_the_error_of_an_interval_is_the_integral_over_it(
    low: float, width: float, scale: float, zero: int, p: float
) -> None:
    piece = Distribution(np.array([low]), np.array([low + width]), np.array([3.0]))
    (found,) = piece.grid_errors(np.array([scale]), np.array([float(zero)]), 0, 15, p)
    x = low + width * (np.arange(20_000) + 0.5) / 20_000
    rounded = (np.clip(np.rint(x / scale) + zero, 0, 15) - zero) * scale
    assert found == pytest.approx(np.mean(np.abs(x - rounded) ** p), rel=2e-3, abs=1e-9)


@given(values, st.floats(0, 1))
def test_quantiles_of_points_are_values(x: Any, share: float) -> None:
    found = Distribution.from_values(x).quantile(share)
    assert found in x
    assert np.mean(x <= found) >= share - 1e-12
    assert np.mean(x < found) <= share + 1e-12


@given(values, st.floats(-60, 60))
def test_the_deviation_of_points_is_their_mean_distance(x: Any, centre: float) -> None:
    found = Distribution.from_values(x).mean_absolute_deviation(centre)
    assert found == pytest.approx(np.abs(x - centre).mean(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("magnitudes", [False, True])
def test_bins_stand_for_their_values(magnitudes: bool) -> None:
    x = np.random.default_rng(8).normal(size=50_000)
    x[::10] = 0.0
    statistics = measure(x)
    seen = np.abs(x) if magnitudes else x
    pieces = Distribution.from_statistics(statistics, magnitudes=magnitudes)
    assert pieces.mass.sum() == x.size
    assert (pieces.low.min(), pieces.high.max()) == (seen.min(), seen.max())
    assert np.all(pieces.low[1:] >= pieces.high[:-1])
    width = statistics.histogram.width
    assert pieces.mean_absolute_deviation(0.4) == pytest.approx(np.abs(seen - 0.4).mean(), rel=1e-4)
    for share in (0.01, 0.3, 0.77, 1.0):
        wanted = np.quantile(seen, share, method="inverted_cdf")
        assert pieces.quantile(share) == pytest.approx(wanted, abs=width)


def test_exact_zeros_are_a_point() -> None:
    pieces = Distribution.from_statistics(measure(np.array([-1.0, 0.0, 0.0, 0.0, 2.0])))
    at = (pieces.low == 0) & (pieces.high == 0)
    assert pieces.mass[at].tolist() == [3.0]


def test_joined_bins_hold_the_same_mass() -> None:
    statistics = measure(np.random.default_rng(9).normal(size=3000))
    fine = Distribution.from_statistics(statistics)
    coarse = Distribution.from_statistics(statistics, join=3)
    assert coarse.mass.sum() == fine.mass.sum()
    assert coarse.mass.size < fine.mass.size / 3
