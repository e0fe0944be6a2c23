"""How many bits an integer range needs."""

from __future__ import annotations


def bit_width(low: int, high: int) -> int:
    """Return the width in bits of the smallest integer type that holds ``[low, high]``.

    Unsigned when ``low >= 0`` (at least 1 bit), two's complement otherwise.
    """
    if low >= 0:
        return max(1, int(high).bit_length())
    negative = (-int(low) - 1).bit_length() + 1
    return max(negative, int(high).bit_length() + 1 if high > 0 else 1)
