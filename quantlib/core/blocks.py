"""Arrays in blocks that the caches hold, so that several passes read memory once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from quantlib.arrays import AnyArray

BLOCK = 1 << 15
"""Values that go through all passes together: 256 KiB of float64."""


def blocks(shape: tuple[int, ...], size: int = BLOCK) -> list[tuple[slice, ...]]:
    """Return slices that cut an array of a shape into contiguous blocks of at most `size` values.

    In C order; one block where all fits.
    """
    whole = tuple(slice(None) for _ in shape)
    found = [whole]
    for axis, length in enumerate(shape):
        inner = math.prod(shape[axis + 1 :])
        if length * inner <= size:
            break
        step = max(1, size // max(1, inner))
        cuts = [slice(start, start + step) for start in range(0, length, step)]
        found = [(*part[:axis], cut, *part[axis + 1 :]) for part in found for cut in cuts]
        if inner <= size:
            break
    return found


def along(array: AnyArray, shape: tuple[int, ...]) -> Callable[[tuple[slice, ...]], AnyArray]:
    """Return a function from a block of an array of a shape to what another one has there."""
    if not array.ndim:
        return lambda _: array
    view = np.broadcast_to(array, shape)
    return lambda part: view[part]


class Scratch:
    """Working memory that blocks share.

    Parameters
    ----------
    dtype : dtype
        Of the values that go through it.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._flat: AnyArray = np.empty(0, dtype=self._dtype)

    def like(self, block: npt.NDArray[Any]) -> AnyArray:
        """Return an uninitialized array of a block's shape; it holds until the next call."""
        if self._flat.size < block.size:
            self._flat = np.empty(block.size, dtype=self._dtype)
        return self._flat[: block.size].reshape(block.shape)
