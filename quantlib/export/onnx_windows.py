"""Where the windows of a convolution lie, as numbers of elements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.ops import kernels

if TYPE_CHECKING:
    from quantlib.arrays import IntArray


def window_index(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[IntArray, tuple[int, ...]]:
    """Return the numbers of the elements under each window of (C, *spatial).

    Returns
    -------
    int64 array, (C, windows, places)
        Elements are numbered in C order, windows too, places of the kernel too.
    tuple of int
        Windows along each spatial axis.
    """
    numbers = np.arange(int(np.prod(shape))).reshape(1, *shape)
    columns = kernels.unfold(numbers, kernel=kernel, strides=strides, dilations=dilations)[0]
    out = columns.shape[2:]
    flat = columns.reshape(columns.shape[0], columns.shape[1], -1)
    return flat.transpose(0, 2, 1).copy(), tuple(out)
