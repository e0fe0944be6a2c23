"""Where each integer of a moved tensor comes from, asked of the mover itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.tensor import Tensor
from quantlib.ops.base import MovingOp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quantlib.arrays import IntArray
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import QuantizedLayer


def index_map(
    layer: QuantizedLayer,
    operands: Sequence[tuple[Value | None, ...]],
    variables: Sequence[int],
    joined: Sequence[Tensor] | None,
) -> tuple[IntArray, IntArray] | None:
    """Return where each element of a mover's result comes from.

    Parameters
    ----------
    layer : QuantizedLayer
        The mover.
    operands : sequence of tuples
        Its operands for one sample, and for two where a call takes several.
    variables : sequence of int
        Positions of the operands that carry integers of the program.
    joined : sequence of Tensor, optional
        Of a Concat: its operands on their common grid, one sample each; constants have their
        codes.

    Returns
    -------
    index : int64 array, shape of one sample's result
        Number of the element, counted through one sample of all variable operands; -1 for a
        constant.
    fill : int64 array, () or shape of `index`
        The constants.
    None
        An element of one sample comes from another sample.
    """
    op = layer.op
    assert isinstance(op, MovingOp)
    total = sum(_size(operands[0][i]) for i in variables)

    def moved(batch: int, shift: int) -> IntArray:
        given = list(operands[batch])
        start = shift
        samples = batch + 1
        tensors = iter(joined or ())
        for i, operand in enumerate(given):
            if not isinstance(operand, Tensor):
                continue
            grid = next(tensors) if joined is not None else operand
            if i not in variables:
                given[i] = Tensor(grid.quantizer, codes=_constant(operand, grid))
                continue
            size = _size(operand)
            numbers = start + np.arange(size) + total * np.arange(samples)[:, None]
            codes = numbers.reshape(samples, *operand.shape[1:]).astype(np.int64)
            given[i] = Tensor(grid.quantizer, codes=codes)
            start += size
        (result, *_) = op.move(*given)
        return np.asarray(result.codes).astype(np.int64)

    return separated(moved, total, twice=len(operands) > 1)


def separated(
    moved: Callable[[int, int], IntArray], total: int, *, twice: bool = True
) -> tuple[IntArray, IntArray] | None:
    """Return index and constants of a move that is known by what it does to numbers.

    Parameters
    ----------
    moved : callable
        Gets 0 or 1 (one sample or two) and a shift; returns the moved numbers when elements are
        numbered from the shift on, `total` a sample.
    total : int
        Elements of a sample.
    twice : bool
        Whether two samples can be moved at once; it is then seen that they do not mix.

    Returns
    -------
    index, fill, or None
        As from `index_map`.
    """
    shift = 1 << 40
    first, second = moved(0, 0), moved(0, shift)
    if first.shape[:1] != (1,):
        return None
    constant = first[0] == second[0]
    index = np.where(constant, -1, first[0])
    expected = np.stack([np.where(constant, first[0], first[0] + k * total) for k in range(2)])
    if twice and not np.array_equal(moved(1, 0), expected):
        return None
    values = first[0][constant]
    if values.size == 0 or (values == values[0]).all():
        return index, np.asarray(values[0] if values.size else 0, dtype=np.int64)
    return index, np.where(constant, first[0], 0)


def _size(operand: Value | None) -> int:
    assert operand is not None
    return int(np.prod(operand.shape[1:], dtype=np.int64))


def _constant(operand: Tensor, grid: Tensor) -> IntArray:
    """Return a constant's codes on the common grid."""
    if grid.quantizer is operand.quantizer:
        return np.asarray(operand.codes).astype(np.int64)
    return np.asarray(Tensor(grid.quantizer, values=operand.values).codes).astype(np.int64)
