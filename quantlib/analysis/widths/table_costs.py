"""What one table look-up costs under encryption, by the width of what enters it."""

from __future__ import annotations

import itertools
from typing import Final

_MEASURED: Final = {
    1: 29_311_814, 2: 41_396_027, 3: 68_704_509, 4: 97_928_445, 5: 226_540_704, 6: 525_958_224,
    7: 1_200_536_610, 8: 3_937_762_274, 9: 8_867_347_389, 10: 19_749_141_351, 11: 6_971_622_900,
    12: 8_678_249_160, 13: 9_309_089_823, 14: 10_799_370_940, 15: 12_722_399_864,
    16: 12_327_660_443,
}  # fmt: skip
"""Complexity by width, bits: floating-point operations of one bootstrap and its key switch.

What the optimizer of Concrete 2.10 (the compiler of Concrete ML 1.9) gives for one look-up on a
fresh ciphertext at an error probability of 2**-40, Concrete ML's default. Beyond 10 bits it
splits the integer, which is cheaper than the larger polynomial of a whole one.
"""

WIDEST_TABLE_BITS: Final = max(_MEASURED)
"""Width of the widest integer that a table of Concrete takes, bits."""

_CHEAPEST: Final = dict(
    zip(
        _MEASURED,
        list(itertools.accumulate(reversed(_MEASURED.values()), min))[::-1],
        strict=True,
    )
)


def look_up_complexity(width_bits: int) -> int:
    """Return what one table look-up costs, floating-point operations.

    Parameters
    ----------
    width_bits : int
        Width of what enters the table, bits. 0, which stands for an unknown width, costs as much
        as the widest.

    Notes
    -----
    A narrow integer can go through a wider table, so where that is cheaper it counts. Beyond
    `WIDEST_TABLE_BITS` there is no table; each bit is taken to double the cost, so that such
    layers can still be ranked.
    """
    known = _CHEAPEST.get(width_bits if width_bits > 0 else WIDEST_TABLE_BITS)
    if known is not None:
        return known
    return _CHEAPEST[WIDEST_TABLE_BITS] << (width_bits - WIDEST_TABLE_BITS)
