"""Clipping thresholds of Gaussian and Laplacian tensors (ACIQ)."""

from __future__ import annotations

import math
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Mapping

Family = Literal["gauss", "laplace"]

PUBLISHED: Mapping[Family, Mapping[int, float]] = MappingProxyType(
    {
        "gauss": MappingProxyType(
            {1: 1.24, 2: 1.71, 3: 2.15, 4: 2.55, 5: 2.93, 6: 3.28, 7: 3.61, 8: 3.92}
        ),
        "laplace": MappingProxyType(
            {1: 1.86, 2: 2.83, 3: 3.89, 4: 5.03, 5: 6.2, 6: 7.41, 7: 8.64, 8: 9.89}
        ),
    }
)
"""Thresholds that Banner et al. publish (in the paper for 2 to 4 bits of the Laplacian, in their
program for the others), in units of the deviation and of b."""

_MAX_BITS = 17


def threshold(family: Family, n_bits: int) -> float:
    """Return the clipping threshold in units of the deviation (Gaussian) or b (Laplacian).

    Parameters
    ----------
    family : {"gauss", "laplace"}
        The distribution, of mean 0.
    n_bits : int
        Width M, 1 to 17 bits.

    Raises
    ------
    OptionsError
        The width is out of range.

    Notes
    -----
    Published constants up to 8 bits, `solved_threshold` above. Banner, Nahshan, Hoffer and
    Soudry, arXiv:1810.05723.
    """
    constants = PUBLISHED[family]
    return constants[n_bits] if n_bits in constants else solved_threshold(family, n_bits)


@lru_cache(maxsize=64)
def solved_threshold(family: Family, n_bits: int) -> float:
    """Return the root of the paper's equation, in units of the deviation or of b.

    Notes
    -----
    Clipping at ±a costs ``2 ∫ (x - a)² f(x) dx`` over x > a; rounding to the middles of ``2**M``
    equal steps costs ``a² / (3 · 4**M)``. The sum is least where ``a e**a = 3 · 4**M`` (Laplacian,
    b = 1) and ``φ(a) - a (1 - Φ(a)) = a / (6 · 4**M)`` (Gaussian of unit deviation). Both have one
    root for any width. Rounding noise is taken as uniform, which is rough for few bits: the best
    threshold of an actual quantizer is some 10 % larger at 3 bits, 3 % at 6.
    """
    if not 1 <= n_bits <= _MAX_BITS:
        raise OptionsError(f"n_bits is {n_bits}; ACIQ thresholds exist for 1 to {_MAX_BITS} bits.")
    low, high = 0.0, 64.0
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _slope(family, middle, n_bits) < 0 else (low, middle)
    return (low + high) / 2


def _slope(family: Family, alpha: float, n_bits: int) -> float:
    """Return a positive multiple of the error's slope at a threshold; it changes sign once."""
    if family == "laplace":
        return alpha / (3 * 4.0**n_bits) - math.exp(-alpha)
    density = math.exp(-alpha * alpha / 2) / math.sqrt(2 * math.pi)
    tail = math.erfc(alpha / math.sqrt(2)) / 2
    return alpha / (6 * 4.0**n_bits) - (density - alpha * tail)
