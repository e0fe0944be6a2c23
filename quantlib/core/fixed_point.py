"""Real multipliers below 1 in integers: a mantissa and a rounding right shift."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from quantlib.errors import OptionsError, TensorError

if TYPE_CHECKING:
    import numpy.typing as npt

    from quantlib.arrays import IntArray

MANTISSA_BITS = 31
"""Bits of the mantissa in the paper: M0 as a non-negative int32."""

ACCUMULATOR_LIMIT = 2**31
"""Accumulators are int32, so that the product with a mantissa of 31 bits fits an int64."""

MAX_SHIFT = 62


@dataclass(frozen=True, slots=True)
class FixedPointMultiplier:
    """A multiplier ``M = 2**-shift * mantissa / 2**bits`` that integers alone can apply.

    Parameters
    ----------
    mantissa : int
        ``round(2**bits * M0)`` with M0 in [1/2, 1): from ``2**(bits - 1)`` to ``2**bits - 1``.
    shift : int
        n of ``M = 2**-n * M0``, from 0 to 62.
    bits : int
        Width of the mantissa, 2 to 31.

    Raises
    ------
    OptionsError
        A member out of its interval.

    Notes
    -----
    Jacob et al. 2018, arXiv:1712.05877, section 2.2 (eq. 6) and appendix B. There M is
    ``S1 * S2 / S3``, found "empirically to always be in the interval (0, 1)".

    Examples
    --------
    >>> import numpy as np
    >>> from quantlib.core.fixed_point import FixedPointMultiplier
    >>> m = FixedPointMultiplier.from_real(0.0072, bits=8)
    >>> m.mantissa, m.shift
    (236, 7)
    >>> m.apply(np.array([1000, -1000])).tolist()
    [7, -7]
    """

    mantissa: int
    shift: int
    bits: int = MANTISSA_BITS

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= MANTISSA_BITS:
            raise OptionsError(f"a mantissa has 2 to {MANTISSA_BITS} bits; got {self.bits}.")
        if not 1 << (self.bits - 1) <= self.mantissa < 1 << self.bits:
            raise OptionsError(
                f"a mantissa of {self.bits} bits lies from {1 << (self.bits - 1)} to "
                f"{(1 << self.bits) - 1}; got {self.mantissa}."
            )
        if not 0 <= self.shift <= MAX_SHIFT:
            raise OptionsError(f"the shift lies from 0 to {MAX_SHIFT}; got {self.shift}.")

    @classmethod
    def from_real(cls, multiplier: float, bits: int = MANTISSA_BITS) -> FixedPointMultiplier:
        """Return the nearest multiplier below 1 with a mantissa of `bits` bits.

        Parameters
        ----------
        multiplier : float
            M, above 0 and below 1.
        bits : int
            Width of the mantissa.

        Raises
        ------
        OptionsError
            M is not in the interval, or below 2**-63.
        """
        if not 0.0 < multiplier < 1.0:
            raise OptionsError(
                f"the multiplier is {multiplier!r}; an integer shift takes numbers between 0 and "
                "1, as S1 * S2 / S3 of a layer is."
            )
        _, exponent = math.frexp(multiplier)
        shift = -exponent
        mantissa = round(Fraction(multiplier) * Fraction(2) ** (shift + bits))
        if mantissa == 1 << bits:  # rounding reached 1.0, which is half of the next shift
            mantissa, shift = (1 << (bits - 1), shift - 1) if shift else (mantissa - 1, 0)
        return cls(mantissa, shift, bits)

    @property
    def m0(self) -> float:
        """M0, in [1/2, 1)."""
        return self.mantissa / (1 << self.bits)

    @property
    def real(self) -> float:
        """The multiplier that is applied; M up to half a unit of the mantissa."""
        return math.ldexp(self.m0, -self.shift)

    def apply(self, accumulators: npt.ArrayLike) -> IntArray:
        """Multiply integers: a rounding product with M0, then a rounding shift.

        Parameters
        ----------
        accumulators : integer array, any shape
            Below 2**31 in magnitude.

        Returns
        -------
        int64 array, shape of `accumulators`
            About ``M * accumulators``; rounded twice, so ties and near-ties may be one away from
            ``rint(M * accumulators)``.

        Raises
        ------
        TensorError
            No integers, or integers beyond int32.
        """
        given = np.asarray(accumulators)
        if given.dtype.kind not in "iu":
            raise TensorError(f"accumulators are integers; got an array of {given.dtype}.")
        if given.size and (
            int(given.min()) <= -ACCUMULATOR_LIMIT or int(given.max()) >= ACCUMULATOR_LIMIT
        ):
            raise TensorError(
                f"accumulators reach from {given.min()} to {given.max()}; they are int32 here."
            )
        return rounding_right_shift(self.high_product(given.astype(np.int64)), self.shift)

    def high_product(self, accumulators: IntArray) -> IntArray:
        """Return the product with M0, to the nearest integer, ties upward.

        With 31 bits this is ARM's SQRDMULH (saturating, rounding, doubling, high half).
        """
        return (accumulators * self.mantissa + (1 << (self.bits - 1))) >> self.bits


def rounding_right_shift(values: IntArray, shift: int) -> IntArray:
    """Divide integers by ``2**shift``, to the nearest, ties away from zero.

    Notes
    -----
    Appendix B of arXiv:1712.05877: a plain rounding shift takes ties upward, which biases the
    results, so it is mended to round ties away from zero.
    """
    if shift == 0:
        return values
    size = (np.abs(values) + (1 << (shift - 1))) >> shift
    return np.where(values < 0, -size, size)
