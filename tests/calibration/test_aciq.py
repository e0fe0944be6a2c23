from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from quantlib.calibration.aciq import PUBLISHED, solved_threshold, threshold
from quantlib.errors import OptionsError


@pytest.mark.parametrize("family", ["gauss", "laplace"])
def test_published_constants_solve_the_equation_to_two_decimals(family: Any) -> None:
    for n_bits, constant in PUBLISHED[family].items():
        assert solved_threshold(family, n_bits) == pytest.approx(constant, abs=0.0101)
        assert threshold(family, n_bits) == constant


def laplace_error(a: float, n_bits: int) -> float:
    return 2 * math.exp(-a) + a**2 / (3 * 4.0**n_bits)


def gauss_error(a: float, n_bits: int) -> float:
    tail = math.erfc(a / math.sqrt(2)) / 2
    density = math.exp(-a * a / 2) / math.sqrt(2 * math.pi)
    return 2 * ((1 + a * a) * tail - a * density) + a**2 / (3 * 4.0**n_bits)


@pytest.mark.parametrize("n_bits", range(1, 17))
@pytest.mark.parametrize(("family", "error"), [("laplace", laplace_error), ("gauss", gauss_error)])
def test_solved_thresholds_minimize_the_closed_form_error(
    family: Any, error: Any, n_bits: int
) -> None:
    candidates = np.linspace(0.5, 25, 4901)
    best = candidates[np.argmin([error(a, n_bits) for a in candidates])]
    assert solved_threshold(family, n_bits) == pytest.approx(best, abs=0.0051)


def midrise_error(x: Any, a: float, n_bits: int) -> float:
    """Return the measured error of the paper's quantizer: middles of 2**M equal steps."""
    step = 2 * a / 2**n_bits
    codes = np.clip(np.floor((x + a) / step), 0, 2**n_bits - 1)
    return float(np.mean(np.square(x - ((codes + 0.5) * step - a))))


@pytest.mark.parametrize("n_bits", [4, 6, 8])
@pytest.mark.parametrize("family", ["gauss", "laplace"])
def test_simulated_values_have_their_least_error_at_the_threshold(family: Any, n_bits: int) -> None:
    rng = np.random.default_rng(11)
    x = rng.normal(size=300_000) if family == "gauss" else rng.laplace(size=300_000)
    wanted = threshold(family, n_bits)
    factors = np.linspace(0.7, 1.4, 57)
    errors = [midrise_error(x, wanted * factor, n_bits) for factor in factors]
    assert factors[int(np.argmin(errors))] == pytest.approx(1.0, abs=0.09)
    assert midrise_error(x, wanted, n_bits) <= 1.02 * min(errors)


def test_thresholds_grow_with_the_width() -> None:
    for family in PUBLISHED:
        found = [threshold(family, n_bits) for n_bits in range(1, 18)]
        assert found == sorted(found)


@pytest.mark.parametrize("n_bits", [0, 18])
def test_widths_without_a_threshold_are_refused(n_bits: int) -> None:
    with pytest.raises(OptionsError, match="1 to 17 bits"):
        threshold("gauss", n_bits)
