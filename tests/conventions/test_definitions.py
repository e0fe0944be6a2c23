"""The other conventions against their definitions, recomputed in exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest

import quantlib as ql
from quantlib.conventions import CONVENTIONS, Scheme, convert
from quantlib.conventions.ranges import ClipMode, distiller_range
from quantlib.errors import OptionsError, TensorError

if TYPE_CHECKING:
    from collections.abc import Sequence

BITS = (2, 3, 4, 8)
EXACT = [
    [-1.0, -0.5, 0.25, 0.5, 1.5, 2.0],
    [1.0, 1.25, 2.5, 3.75],
    [-4.0, -2.5, -1.0, -0.5],
    [0.0, 0.5, 1.0, 7.5],
    [-0.375, 0.125, 0.625, 64.0],
]
"""Tensors of binary fractions, so that float32 holds them exactly."""


def half_even(value: Fraction) -> int:
    return round(value)


def half_away(value: Fraction) -> int:
    size = math.floor(abs(value) + Fraction(1, 2))
    return -size if value < 0 else size


def clip(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


def close(found: float, exact: Fraction) -> bool:
    return found == pytest.approx(float(exact), rel=1e-12)


def is_near_tie(position: Fraction) -> bool:
    """Whether a float64 quotient may round to the other side: exact ties are decided by a rule."""
    off = abs(position % 1 - Fraction(1, 2))
    return 0 < off < Fraction(1, 10**9)


@pytest.mark.parametrize("values", EXACT, ids=str)
@pytest.mark.parametrize("n_bits", BITS)
def test_aimet_symmetric(values: Sequence[float], n_bits: int) -> None:
    x = [Fraction(v) for v in values]
    steps = 2**n_bits - 1
    delta = max(abs(min(*x, Fraction(0))), max(*x, Fraction(0))) / (steps // 2)
    offset = -math.ceil(Fraction(steps, 2))
    made = convert("AIMET", values, n_bits=n_bits, scheme=Scheme.SYMMETRIC)
    assert close(made.scale, delta)
    assert (made.zero_point, made.qmin, made.qmax) == (-offset, 0, steps)
    low, high = offset * delta, delta * (steps // 2)
    wanted = [half_away(max(low, min(high, v)) / delta) - offset for v in x]
    assert made.codes.tolist() == wanted


@pytest.mark.parametrize("values", EXACT, ids=str)
@pytest.mark.parametrize("n_bits", BITS)
def test_aimet_affine(values: Sequence[float], n_bits: int) -> None:
    x = [Fraction(v) for v in values]
    steps = 2**n_bits - 1
    low, high = min(*x, Fraction(0)), max(*x, Fraction(0))
    delta = (high - low) / steps
    offset = half_away(low / delta)
    made = convert("AIMET", values, n_bits=n_bits, scheme=Scheme.AFFINE)
    assert close(made.scale, delta)
    assert made.zero_point == -offset
    positions = [v / delta for v in x]
    for code, position in zip(made.codes.tolist(), positions, strict=True):
        if not is_near_tie(position):
            assert code == clip(half_away(position) - offset, 0, steps)


def test_aimet_gives_every_range_a_width() -> None:
    made = convert("AIMET", [0.0, 0.0], n_bits=8, scheme=Scheme.AFFINE)
    assert made.scale == pytest.approx(0.01 / 255)
    assert made.codes.tolist() == [0, 0]


@pytest.mark.parametrize("values", EXACT, ids=str)
@pytest.mark.parametrize("n_bits", BITS)
def test_distiller_symmetric(values: Sequence[float], n_bits: int) -> None:
    x = [Fraction(v) for v in values]
    n = 2 ** (n_bits - 1) - 1
    factor = n / max(map(abs, x))
    made = convert("Distiller", values, n_bits=n_bits, scheme=Scheme.SYMMETRIC)
    assert close(made.scale, 1 / factor)
    assert (made.zero_point, made.qmin, made.qmax) == (0, -n - 1, n)
    assert made.codes.tolist() == [clip(half_even(factor * v), -n - 1, n) for v in x]


@pytest.mark.parametrize("values", EXACT, ids=str)
@pytest.mark.parametrize("n_bits", BITS)
def test_distiller_affine(values: Sequence[float], n_bits: int) -> None:
    x = [Fraction(v) for v in values]
    n = 2**n_bits - 1
    low, high = min(*x, Fraction(0)), max(*x, Fraction(0))
    factor = n / (high - low)
    zero_point = half_even(factor * low)
    made = convert("Distiller", values, n_bits=n_bits, scheme=Scheme.AFFINE)
    assert close(made.scale, 1 / factor)
    assert made.zero_point == -zero_point
    for code, v in zip(made.codes.tolist(), x, strict=True):
        position = factor * v - zero_point
        if not is_near_tie(position):
            assert code == clip(half_even(position), 0, n)


def test_distiller_s_clip_modes_are_mean_extremes_and_deviations_of_a_sample() -> None:
    values = np.array([[0.0, 2.0, -1.0], [1.0, 4.0, -3.0], [0.5, 30.0, -2.0]])
    assert distiller_range(values, ClipMode.NONE) == (-3.0, 30.0)
    assert distiller_range(values, ClipMode.AVG) == (-2.0, 12.0)
    flat = values.ravel().tolist()
    mean = sum(flat) / 9
    std = math.sqrt(sum((v - mean) ** 2 for v in flat) / 8)
    low, high = distiller_range(values, ClipMode.N_STD, n_stds=1.0)
    assert low == pytest.approx(max(-3.0, mean - std))
    assert high == pytest.approx(mean + std)
    assert distiller_range(values, ClipMode.N_STD, n_stds=50.0) == (-3.0, 30.0)
    made = convert("Distiller", values, n_bits=4, scheme=Scheme.SYMMETRIC, clip=ClipMode.AVG)
    assert made.scale == pytest.approx(12.0 / 7)
    assert made.codes.max() == 7


@pytest.mark.parametrize("values", EXACT, ids=str)
@pytest.mark.parametrize("n_bits", BITS)
def test_qonnx_clips_and_then_rounds_half_to_even(values: Sequence[float], n_bits: int) -> None:
    x = [Fraction(v) for v in values]
    top = 2 ** (n_bits - 1) - 1
    scale = max(map(abs, x)) / top
    made = convert("QONNX", values, n_bits=n_bits, scheme=Scheme.SYMMETRIC)
    assert close(made.scale, scale)
    assert (made.qmin, made.qmax) == (-top, top)
    for code, v in zip(made.codes.tolist(), x, strict=True):
        if not is_near_tie(v / scale):
            assert code == half_even(max(Fraction(-top), min(Fraction(top), v / scale)))


@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("values", EXACT, ids=str)
def test_concrete_ml_is_the_core_itself(values: list[float], scheme: Scheme) -> None:
    made = convert("Concrete ML", values, n_bits=4, scheme=scheme)
    symmetric = scheme is Scheme.SYMMETRIC
    array = ql.QuantizedArray(
        4, np.array(values, np.float32), is_signed=symmetric, is_symmetric=symmetric
    )
    assert made.codes.tolist() == array.qvalues.tolist()
    assert made.zero_point == array.quantizer.zero_point
    assert made.reals.tolist() == array.dequant().tolist()


@pytest.mark.parametrize("tool", CONVENTIONS)
@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("n_bits", [2, 5, 8, 16])
def test_codes_stay_on_the_grid_and_stand_for_their_reals(
    tool: str, scheme: Scheme, n_bits: int
) -> None:
    values = np.random.default_rng(2).normal(size=64)
    made = convert(tool, values, n_bits=n_bits, scheme=scheme)
    assert made.qmin <= made.codes.min()
    assert made.codes.max() <= made.qmax
    assert made.qmax - made.qmin in (2**n_bits - 1, 2**n_bits - 2)
    np.testing.assert_array_equal(made.reals, made.scale * (made.codes - made.zero_point))
    assert np.abs(made.reals - values).max() <= 1.01 * made.scale


def test_what_is_no_convention_is_refused() -> None:
    with pytest.raises(OptionsError, match="no convention"):
        convert("Other", [1.0], n_bits=8, scheme=Scheme.AFFINE)
    with pytest.raises(OptionsError, match="bits"):
        convert("AIMET", [1.0], n_bits=17, scheme=Scheme.AFFINE)
    with pytest.raises(TensorError):
        convert("AIMET", [math.nan], n_bits=8, scheme=Scheme.AFFINE)
    with pytest.raises(OptionsError, match="deviations"):
        distiller_range(np.ones(3), ClipMode.N_STD, n_stds=0.0)
