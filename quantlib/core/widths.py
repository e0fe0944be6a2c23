"""How many bits an integer range needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray, IntArray


def bit_width(low: int, high: int) -> int:
    """Return the width in bits of the smallest integer type that holds ``[low, high]``.

    Unsigned when ``low >= 0`` (at least 1 bit), two's complement otherwise.
    """
    if low >= 0:
        return max(1, int(high).bit_length())
    negative = (-int(low) - 1).bit_length() + 1
    return max(negative, int(high).bit_length() + 1 if high > 0 else 1)


def bit_widths(low: AnyArray, high: AnyArray) -> IntArray:
    """Return `bit_width` of each pair of `low` and `high`.

    Parameters
    ----------
    low, high : int64 arrays, or object arrays of Python ints, of one shape
        Smallest and largest integers.

    Returns
    -------
    int64 array, shape of `low`
        Bits.
    """
    if low.dtype == object or high.dtype == object:
        pairs = zip(low.ravel(), high.ravel(), strict=True)
        return np.array([bit_width(a, b) for a, b in pairs], dtype=np.int64).reshape(low.shape)
    signed = low < 0
    # -low - 1 is ~low, which has no overflow at the least int64
    magnitude = np.maximum(np.where(signed, ~low, 0), np.where(high > 0, high, 0))
    return np.asarray(
        np.where(signed, _bit_lengths(magnitude) + 1, np.maximum(1, _bit_lengths(magnitude)))
    )


def needed_bits(low: int, high: int) -> float:
    """Return the width that ``[low, high]`` needs, in fractions of a bit.

    Returns
    -------
    float
        ``1 + log2(max(-low, high + 1))`` for ranges with negative integers, ``log2(high + 1)``
        (at least 1) for others.

    Notes
    -----
    Rounded up it is `bit_width`: an n-bit signed type holds ``-2**(n-1)`` to ``2**(n-1) - 1``,
    an unsigned one ``0`` to ``2**n - 1``. A limit less this number is the headroom: 0 when the
    range ends exactly at the limit, 1 when all integers could double.
    """
    if low < 0:
        return 1.0 + math.log2(max(-int(low), int(high) + 1))
    return max(1.0, math.log2(int(high) + 1))


def _bit_lengths(values: IntArray) -> IntArray:
    """Return ``int.bit_length`` of integers >= 0, exactly: each half fits a float64."""
    upper = values >> 32
    lengths = np.where(
        upper > 0,
        np.frexp(upper.astype(np.float64))[1] + 32,
        np.frexp((values & 0xFFFFFFFF).astype(np.float64))[1],
    )
    return np.asarray(lengths, dtype=np.int64)
