"""Fixed-point multipliers against exact integer and rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantlib.core.fixed_point import FixedPointMultiplier, rounding_right_shift
from quantlib.errors import OptionsError, TensorError

MULTIPLIERS = st.floats(1e-9, 1.0, exclude_max=True)
ACCUMULATORS = st.integers(-(2**31) + 1, 2**31 - 1)


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def half_away(value: Fraction) -> int:
    size = math.floor(abs(value) + Fraction(1, 2))
    return -size if value < 0 else size


@given(MULTIPLIERS, st.integers(2, 31))
def test_the_mantissa_is_the_nearest_of_its_width(real: float, bits: int) -> None:
    made = FixedPointMultiplier.from_real(real, bits)
    exact = Fraction(made.mantissa, 2**bits) / 2**made.shift
    assert Fraction(1, 2) <= Fraction(made.mantissa, 2**bits) < 1
    unit = Fraction(1, 2**bits) / 2**made.shift
    others = [exact - unit, exact + unit] if exact + unit < 1 else [exact - unit]
    assert all(abs(exact - Fraction(real)) <= abs(other - Fraction(real)) for other in others)
    assert made.real == float(exact)


@given(MULTIPLIERS, st.integers(2, 31), ACCUMULATORS)
def test_a_product_is_rounded_twice_as_the_paper_says(
    real: float, bits: int, accumulator: int
) -> None:
    made = FixedPointMultiplier.from_real(real, bits)
    first = half_up(Fraction(accumulator * made.mantissa, 2**bits))
    assert made.apply(np.array([accumulator]))[0] == half_away(Fraction(first, 2**made.shift))


@given(MULTIPLIERS, st.lists(ACCUMULATORS, min_size=1, max_size=20))
def test_with_31_bits_a_result_is_at_most_one_from_the_exact_table(
    real: float, accumulators: list[int]
) -> None:
    found = FixedPointMultiplier.from_real(real).apply(np.array(accumulators))
    for accumulator, result in zip(accumulators, found.tolist(), strict=True):
        assert abs(result - Fraction(real) * accumulator) <= Fraction(3, 2)
        assert abs(result - round(Fraction(real) * accumulator)) <= 1


def gemmlowp_high_product(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul, with C's division that truncates."""
    nudged = a * b + (2**30 if a * b >= 0 else 1 - 2**30)
    return nudged // 2**31 if nudged >= 0 else -(-nudged // 2**31)


@given(ACCUMULATORS, st.integers(2**30, 2**31 - 1))
def test_the_high_product_is_that_of_the_paper_s_library(accumulator: int, mantissa: int) -> None:
    made = FixedPointMultiplier(mantissa, 0)
    found = made.high_product(np.array([accumulator], dtype=np.int64))[0]
    assert found == gemmlowp_high_product(accumulator, mantissa)


def test_a_rounding_shift_rounds_every_tie_away_from_zero() -> None:
    values = np.arange(-64, 65, dtype=np.int64)
    for shift in range(6):
        found = rounding_right_shift(values, shift).tolist()
        assert found == [half_away(Fraction(int(v), 2**shift)) for v in values]


def test_a_result_leaves_the_exact_table_only_where_one_of_both_roundings_meets_a_half() -> None:
    accumulators = np.arange(-5000, 5001, dtype=np.int64)
    differ = 0
    for real in (0.000731, 0.0072, 0.0517, 0.481, 0.9375):
        made = FixedPointMultiplier.from_real(real)
        found = made.apply(accumulators).tolist()
        for accumulator, result in zip(accumulators.tolist(), found, strict=True):
            exact = round(Fraction(real) * accumulator)  # half to even
            if result != exact:
                product = Fraction(accumulator * made.mantissa, 2**made.bits)
                shifted = Fraction(half_up(product), 2**made.shift)
                assert Fraction(1, 2) in (product % 1, shifted % 1)
                assert abs(result - exact) == 1
                differ += 1
    assert differ > 0


@pytest.mark.parametrize("real", [0.0, 1.0, -0.5, 2.0, math.nan, math.inf])
def test_other_multipliers_are_refused(real: float) -> None:
    with pytest.raises(OptionsError, match="multiplier"):
        FixedPointMultiplier.from_real(real)


@pytest.mark.parametrize(
    ("mantissa", "shift", "bits"), [(3, 0, 8), (256, 0, 8), (128, -1, 8), (128, 63, 8), (1, 0, 1)]
)
def test_members_out_of_range_are_refused(mantissa: int, shift: int, bits: int) -> None:
    with pytest.raises(OptionsError):
        FixedPointMultiplier(mantissa, shift, bits)


def test_reals_and_wide_integers_are_refused() -> None:
    made = FixedPointMultiplier.from_real(0.3)
    with pytest.raises(TensorError, match="integers"):
        made.apply(np.array([1.0]))
    with pytest.raises(TensorError, match="int32"):
        made.apply(np.array([2**31]))
