"""Numbers for exercises: drawn by a number in a link, and never the same twice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_GOLDEN = (math.sqrt(5) - 1) / 2


def drawn(seed: int, *choices: Sequence[Any]) -> tuple[Any, ...]:
    """Pick one of each sequence.

    Parameters
    ----------
    seed : int
        Which combination, from 0.
    *choices : sequences
        What to pick from; none is empty.

    Returns
    -------
    tuple
        One element of each. Seeds that differ by less than the number of combinations give
        different combinations: the seed is multiplied by a number coprime to it.
    """
    total = math.prod(len(options) for options in choices)
    step = max(1, round(total * _GOLDEN))
    while math.gcd(step, total) != 1:
        step += 1
    index = seed * step % total
    picked = []
    for options in choices:
        index, place = divmod(index, len(options))
        picked.append(options[place])
    return tuple(picked)
