"""Ranges at the ends of their dtypes, and grids of one code."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.core.params import UniformQuantizationParameters


def exact_parameters(low: float, high: float, options: ql.QuantizationOptions) -> tuple[Any, int]:
    """Scale and zero point in rational arithmetic."""
    low_, high_ = Fraction(low), Fraction(high)
    span = high_ - low_
    steps = 2**options.n_bits - 1
    if options.is_symmetric:
        return max(abs(low_), abs(high_)) / (steps - options.offset), 0
    point = (high_ * -options.offset - low_ * (steps - options.offset)) / span
    return span / steps, round(point)


GRIDS = [
    pytest.param(n_bits, signed, symmetric, id=f"{n_bits}-{kind}")
    for n_bits in (1, 2, 8, 16, 32)
    for kind, signed, symmetric in (
        ("unsigned", False, False), ("signed", True, False), ("symmetric", True, True),
    )
    if n_bits > 1 or not symmetric
]  # fmt: skip


@pytest.mark.parametrize(("n_bits", "signed", "symmetric"), GRIDS)
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (np.float32, -3e38, 3e38),
        (np.float32, -3.4e38, 1e38),
        (np.float32, 2e38, 3e38),
        (np.float16, -6e4, 6e4),
        (np.float64, -8e307, 8e307),
        (np.float64, 1e307, 1.7e308),
    ],
)
def test_a_range_beyond_its_dtype_has_the_scale_of_exact_arithmetic(
    dtype: Any, low: float, high: float, n_bits: int, signed: bool, symmetric: bool
) -> None:
    options = ql.QuantizationOptions(n_bits, is_signed=signed, is_symmetric=symmetric)
    stats = ql.MinMaxQuantizationStats(rmax=dtype(high), rmin=dtype(low))
    params = UniformQuantizationParameters.from_stats(options, stats)
    scale, point = exact_parameters(float(stats.rmin), float(stats.rmax), options)
    # a difference that float32 can hold is rounded to it, as in Concrete ML
    close = 1e-12 if dtype is np.float64 else 2e-3 if dtype is np.float16 else 2e-7
    assert abs(Fraction(float(params.scale)) / scale - 1) < close
    assert abs(int(params.zero_point) - point) <= max(1.0, abs(point) * close)
    grid = ql.UniformQuantizer(options, stats, params)
    values = np.linspace(float(stats.rmin) / 2, float(stats.rmax) / 2, 7, dtype=np.float64) * 2
    values = values.astype(dtype)
    with np.errstate(all="raise"):
        back = grid.dequant(grid.quant(values))
    assert np.isfinite(back).all()
    # half a step, and the last bits of the position at the far end of the grid
    unit = 2.0**-52 if dtype is np.float64 else 2.0**-23
    reach = max(abs(grid.qmin - int(params.zero_point)), abs(grid.qmax - int(params.zero_point)))
    inside = float(params.scale) * (0.5 + 2 * unit * reach + 1.0 * (n_bits == 1))
    assert np.abs(back / 2 - values.astype(np.float64) / 2).max() <= inside / 2


def test_a_range_too_wide_for_float64_is_refused() -> None:
    stats = ql.MinMaxQuantizationStats(rmax=np.float64(1.7e308), rmin=np.float64(-1.7e308))
    for options in (
        ql.QuantizationOptions(4),
        ql.QuantizationOptions(4, is_signed=True, is_symmetric=True),
    ):
        with pytest.raises(ql.TensorError, match="wider than a float64"):
            ql.UniformQuantizer.from_stats(options, stats)
    with pytest.raises(ql.TensorError, match="wider than a float64"):
        UniformQuantizationParameters.per_channel(
            ql.QuantizationOptions(4), np.array([-1.7e308, 0]), np.array([1.7e308, 1])
        )


def test_channels_have_the_scale_of_their_own_range_at_any_size() -> None:
    low = np.array([-3e38, -1e-3, -3e-41, 0], dtype=np.float32)[:, None]
    high = np.array([3e38, 1e-3, 3e-41, 2], dtype=np.float32)[:, None]
    options = ql.QuantizationOptions(8, is_signed=True)
    grid = ql.UniformQuantizer.from_channels(options, low, high)
    values = np.concatenate([low, high], axis=1)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        back = grid.dequant(grid.quant(values))
    steps = np.asarray(grid.scale)
    assert np.isfinite(back).all()
    assert np.all(np.abs(back - values.astype(np.float64)) <= steps * 0.51)


@pytest.mark.parametrize("constant", [0.5, -0.5, 3.0, -7e4, 1e-3, 0.0, 1e-9])
def test_one_signed_symmetric_bit_holds_a_constant(constant: float) -> None:
    """Concrete ML 1.9: scale = the constant and code 1; near 0, scale 1 and code 0."""
    values = np.full(6, constant)
    array = ql.QuantizedArray(1, values, is_signed=True, is_symmetric=True)
    near_zero = abs(constant) < 1e-6
    assert array.quantizer.scale == (1.0 if near_zero else constant)
    assert (array.quantizer.zero_point, array.quantizer.offset) == (0, 0)
    assert array.qvalues.tolist() == [0 if near_zero else 1] * 6
    assert np.allclose(array.dequant(), values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("values", [[0.0, 1.0], [-1.0, 1.0], [5.0, 5.1]])
def test_one_signed_symmetric_bit_has_no_scale_for_a_range(values: list[float]) -> None:
    with pytest.raises(ql.OptionsError, match="single code 0"):
        ql.QuantizedArray(1, values, is_signed=True, is_symmetric=True)
    options = ql.QuantizationOptions(1, is_signed=True, is_symmetric=True)
    with pytest.raises(ql.OptionsError, match="single code 0"):
        ql.UniformQuantizer.from_channels(options, np.array([values[0]]), np.array([values[1]]))
