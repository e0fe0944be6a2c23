"""The integers that an encrypted computation holds on the way to an accumulator, of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.arrays import exact_integers
from quantlib.core.widths import bit_width
from quantlib.ops import kernels
from quantlib.ops.base import MixingOp
from quantlib.ops.inside import Intermediate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.execution.layer import LayerRun, QuantizedLayer


def intermediates(layer: QuantizedLayer, run: LayerRun) -> Iterator[Intermediate]:
    """Yield the steps of an integer operator's run, in the order in which they are computed.

    What rounding makes of the accumulator is the last of them: it may carry into a further bit.
    """
    op, accumulator = layer.op, exact_integers(np.asarray(run.accumulator))
    assert isinstance(op, MixingOp)
    yield from op.intermediates(accumulator, *run.operands, place=layer.place)
    if layer.lsbs_to_remove:
        shifted = accumulator + exact_integers(np.asarray(op.rounding_offset(*run.operands)))
        yield Intermediate("rounded", kernels.round_low_bits(shifted, layer.lsbs_to_remove))


def reported(layer: QuantizedLayer, run: LayerRun) -> tuple[int, int, int]:
    """Return the smallest and largest integer a circuit reports for an operator, and its width.

    Notes
    -----
    A circuit counts to an operator what its accumulator is made of, the constants it holds for
    that, the accumulator, and the accumulator after rounding; its width is that of the widest of
    these. Of a product or quotient of two tensors it counts the rounding alone. Operators that it
    does not name at all (sums and unrounded products of two tensors, maxima) have their
    accumulator here.
    """
    op = layer.op
    assert isinstance(op, MixingOp)
    held = [
        step.values
        for step in intermediates(layer, run)
        if step.reported and (op.named_in_circuit or step.name == "rounded")
    ]
    if op.named_in_circuit or not held:
        held.append(exact_integers(np.asarray(run.accumulator)))
    if op.named_in_circuit:
        constants = op.held_constants(*run.operands, place=layer.place)
        held += [np.array(value) for value in constants]
    ends = [(int(part.min()), int(part.max())) for part in held]
    lows, highs = zip(*ends, strict=True)
    return min(lows), max(highs), max(bit_width(*pair) for pair in ends)
