"""What an encrypted computation holds and looks up on the way to an accumulator.

A circuit of Concrete computes an accumulator step by step, and every step must fit: the product
of codes before the zero points leave, the sum of the inputs, both halves of a sum. The operators
tell their own steps; this module has the words and what several of them share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quantlib.arrays import exact_integers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from quantlib.arrays import AnyArray
    from quantlib.core.params import UniformQuantizationParameters
    from quantlib.core.tensor import Tensor


class Intermediate(NamedTuple):
    """One step towards an accumulator.

    Parameters
    ----------
    name : str
        As in `quantlib.analysis.widths.ranges.Part`.
    values : integer array
        What it held; the extremes alone where the whole would be larger than the operands.
    reported : bool
        Whether the report of a circuit counts it to the operator.
    """

    name: str
    values: AnyArray
    reported: bool = True


class InnerLookUps(NamedTuple):
    """Table look-ups that an operator itself is made of, per sample.

    Parameters
    ----------
    reason : str
        As in `quantlib.analysis.widths.cost.LookUps`.
    elements : int
        How many enter a table.
    width_bits : int
        Width of what enters, bits.
    """

    reason: str
    elements: int
    width_bits: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operator stands in a calibrated module.

    Parameters
    ----------
    constants : collection of int
        Positions of the operands that are constants.
    output : UniformQuantizationParameters or None
        Grid of the operator's output; None for a graph output.
    leaves : bool
        The accumulator itself leaves the graph, on a grid that no data change.
    lsbs_to_remove : int
        Low bits that rounding takes from the accumulator.
    """

    constants: Collection[int]
    output: UniformQuantizationParameters | None
    leaves: bool
    lsbs_to_remove: int


def split_at_zero_points(
    accumulator: AnyArray, sums: AnyArray, zero_points: AnyArray
) -> Iterator[Intermediate]:
    """Yield the terms of ``x @ w - zw * sum(x)``.

    Parameters
    ----------
    accumulator : int64 array
        The whole.
    sums : int64 array, broadcastable to it
        Codes that meet each accumulator, summed.
    zero_points : int64 array, broadcastable to it
        The weights'.
    """
    term = sums * -zero_points
    yield Intermediate("product", accumulator - term)
    yield Intermediate("input sum", np.broadcast_to(sums, term.shape))
    yield Intermediate("zero-point term", term)


def weight_zero_points(w: Tensor, axis: int) -> AnyArray:
    """Return the weights' zero point of each output channel, which lie along `axis`."""
    codes, centred = (
        np.moveaxis(part, axis, 0).reshape(part.shape[axis], -1)[:, 0]
        for part in (w.codes, w.centred())
    )
    return np.asarray(np.rint(codes - centred), dtype=np.int64)


def zero_point(x: Tensor) -> int:
    """Return the code of real 0.0 on a grid that has one."""
    return int(np.ravel(x.quantizer.zero_point)[0])


def has_zero_point(*tensors: Tensor) -> bool:
    """Tell whether real 0.0 is another code than 0 for any of the tensors."""
    return any(bool(np.any(t.quantizer.zero_point)) for t in tensors)


def exact(accumulator: AnyArray) -> AnyArray:
    """Return integers that travelled in floating point as int64."""
    return exact_integers(np.asarray(accumulator))


def held_by_product(
    x: Tensor, w: Tensor, constants: Collection[int], *, counts_one: bool
) -> Iterator[int | list[int]]:
    """Yield the constants that a circuit holds inside a product with weights.

    Parameters
    ----------
    x, w : Tensor
        The factors.
    constants : collection of int
        Which of them are constants.
    counts_one : bool
        Whether input sums are made by a kernel of ones.
    """
    for i, factor in enumerate((x, w)):
        if i in constants:
            yield [int(factor.codes.min()), int(factor.codes.max())]
    for shift in np.unique(w.quantizer.zero_point) if 0 not in constants else ():
        if shift:
            yield -int(shift)
            yield from [1] if counts_one else []
    if not {0, 1} & set(constants):
        yield from (int(shift) for shift in np.unique(x.quantizer.zero_point))
