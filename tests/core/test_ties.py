"""Ties against exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import quantlib as ql
from quantlib.core.rounding import Rounding
from quantlib.core.ties import (
    ULPS,
    decided_by_the_last_bit,
    reach,
    zero_point_hangs_on_the_last_bit,
)


def grid(
    scale: float, zero_point: int, n_bits: int = 5, rounding: Rounding = Rounding.NEAREST
) -> ql.UniformQuantizer:
    options = ql.QuantizationOptions(n_bits)
    params = ql.UniformQuantizationParameters(np.float64(scale), zero_point, 0)
    return ql.UniformQuantizer(options, None, params, rounding=rounding)


def nearby(
    quantizer: ql.UniformQuantizer, rounding_point: Fraction, count: int = 12
) -> list[float]:
    """Floats around the values whose position is a code plus `rounding_point`."""
    found = []
    for code in range(quantizer.qmin - 2, quantizer.qmax + 2):
        position = Fraction(code) + rounding_point - int(quantizer.zero_point)
        value = float(position * Fraction(float(quantizer.scale)))
        for _ in range(count // 2):
            value = np.nextafter(value, -np.inf)
        for _ in range(count):
            found.append(float(value))
            value = np.nextafter(value, np.inf)
    return found


@pytest.mark.parametrize("zero_point", [0, 7, 13])
@pytest.mark.parametrize("scale", [1 / 3, 0.1, 0.0625, 7.3])
def test_a_tie_is_within_the_margin_of_a_half_step_in_exact_arithmetic(
    scale: float, zero_point: int
) -> None:
    quantizer = grid(scale, zero_point)
    rng = np.random.default_rng(3)
    values = np.array(nearby(quantizer, Fraction(1, 2)) + list(rng.normal(0, 20 * scale, 400)))
    found = decided_by_the_last_bit(values, quantizer)
    margin = (
        Fraction(ULPS)
        * Fraction(float(np.finfo(np.float64).eps))
        * Fraction(float(reach(quantizer)))
    )
    counted = 0
    for value, decided in zip(values.tolist(), found.tolist(), strict=True):
        position = Fraction(value) / Fraction(scale) + zero_point
        below = math.floor(position)
        distance = abs(position - below - Fraction(1, 2))
        # two codes of the grid lie on either side; beyond its ends both would saturate
        inside = quantizer.qmin <= below and below + 1 <= quantizer.qmax
        if abs(distance - margin) < margin / 3:
            continue  # the float position itself is a rounding or two off
        assert decided == (inside and distance < margin), (value, position)
        counted += decided
    assert counted >= 100


@pytest.mark.parametrize("rounding", [r for r in Rounding if r is not Rounding.SIGN])
def test_a_tie_lies_where_the_rule_switches(rounding: Rounding) -> None:
    quantizer = grid(0.5, 3, rounding=rounding)
    halves = rounding in {
        Rounding.NEAREST,
        Rounding.NEAREST_FIRST,
        Rounding.HALF_UP,
        Rounding.HALF_DOWN,
    }
    half_step, whole_step, between = 0.25 + 0.5 * 4, 0.5 * 4, 0.5 * 4.3
    found = decided_by_the_last_bit(np.array([half_step, whole_step, between]), quantizer)
    assert found.tolist() == [halves, not halves, False]


def test_the_sign_switches_at_zero_alone() -> None:
    options = ql.QuantizationOptions(1, is_signed=True)
    params = ql.UniformQuantizationParameters(np.float64(0.5), 0, 1)
    quantizer = ql.UniformQuantizer(
        options, None, params, rounding=Rounding.SIGN, code_range=(-1, 1)
    )
    found = decided_by_the_last_bit(np.array([0.0, 0.25, -0.5, 3.0]), quantizer)
    assert found.tolist() == [True, False, False, False]


def test_float32_values_have_the_last_bit_of_float32() -> None:
    quantizer = grid(1.0, 0)
    near = np.array([2.5 + 1e-6])
    assert not decided_by_the_last_bit(near, quantizer)[0]
    assert decided_by_the_last_bit(near.astype(np.float32), quantizer)[0]
    assert decided_by_the_last_bit(near, quantizer, precision=np.float32)[0]


def test_values_that_saturate_either_way_are_no_ties() -> None:
    assert not decided_by_the_last_bit(np.array([31.5, 77.5, -0.5]), grid(1.0, 0)).any()


@pytest.mark.parametrize(
    ("n_bits", "signed", "low", "high", "tied"),
    [
        (3, True, -2.0, 2.0, True),  # (2 * -4 + 2 * 3) / 4 = -0.5
        (3, False, -2.0, 2.0, True),  # 2 * 7 / 4 = 3.5
        (3, False, -1.0, 2.5, False),  # 7 / 3.5 = 2
        (8, False, -1.0, 1.0, True),  # 127.5
        (8, False, -1.0, 1.1, False),
    ],
)
def test_a_zero_point_is_tied_where_its_formula_gives_a_half(
    n_bits: int, signed: bool, low: float, high: float, tied: bool
) -> None:
    options = ql.QuantizationOptions(n_bits, is_signed=signed)
    stats = ql.MinMaxQuantizationStats(rmax=np.float64(high), rmin=np.float64(low))
    assert zero_point_hangs_on_the_last_bit(options, stats) == tied


def test_a_symmetric_grid_has_no_zero_point_to_tie() -> None:
    options = ql.QuantizationOptions(3, is_signed=True, is_symmetric=True)
    stats = ql.MinMaxQuantizationStats(rmax=np.float64(2), rmin=np.float64(-2))
    assert not zero_point_hangs_on_the_last_bit(options, stats)
