"""Grids by tensor name: what formats say that list scales beside a float model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from quantlib.core.rounding import Rounding
from quantlib.export.formats import Refusal, raise_refusals
from quantlib.export.marks import Role, channel_axis
from quantlib.export.placement import place
from quantlib.ops.carried import CarriedQuantizer

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.graph.model import Graph
    from quantlib.quantized_module import QuantizedModule


@dataclass(frozen=True, slots=True, eq=False)
class TensorGrid:
    """The grid of one tensor of the model's file.

    Parameters
    ----------
    name : str
        The tensor.
    quantizer : UniformQuantizer
        Its grid.
    is_constant : bool
        Whether the file holds its values.
    layer : str
        Who reads it so.
    clips : bool
        Whether values beyond the grid occur: for a variable always, a constant is known.
    """

    name: str
    quantizer: UniformQuantizer
    is_constant: bool
    layer: str
    clips: bool

    @property
    def axis(self) -> int | None:
        """The axis that the scales number; None where all share one."""
        return channel_axis(self.quantizer)

    @property
    def scales(self) -> AnyArray:
        """Scales, float64: one, or one per channel."""
        return np.asarray(self.quantizer.scale, dtype=np.float64).reshape(-1)

    @property
    def zero_points(self) -> AnyArray:
        """Zero points, int64, as many as scales."""
        points = np.broadcast_to(self.quantizer.zero_point, np.shape(self.quantizer.scale))
        return np.asarray(points, dtype=np.int64).reshape(-1)


def refusals(module: QuantizedModule) -> tuple[Refusal, ...]:
    """Return the quantizers that the file brings: a list of grids goes with a float model."""
    brought = [layer.name for layer in module.layers if isinstance(layer.op, CarriedQuantizer)]
    names = dict.fromkeys((*brought, *module.graph.grids))
    reason = "the file brings this grid itself; a list of grids goes with a float model"
    return tuple(Refusal(name, reason, "export QDQ or QONNX") for name in names)


def tensor_grids(module: QuantizedModule) -> tuple[tuple[TensorGrid, ...], tuple[Refusal, ...]]:
    """Return the grids of the tensors of a model's file, and what such a list leaves out.

    A list has one grid per tensor and says nothing of what happens inside an operator: the scale
    of a sum, the inverse of a divisor, rounded accumulators. Biases are real numbers and not in
    the list.

    Raises
    ------
    OptionsError
        The file brings its own quantizers: a list of grids goes with a float model.
    """
    raise_refusals("A list of grids", refusals(module))
    placed = place(module)
    known = _stored_tensors(module.graph)
    grids: dict[str, TensorGrid] = {}
    left: list[Refusal] = list(placed.refusals)
    for mark in placed.marks:
        reason = _OUTSIDE.get(mark.role)
        if reason is not None:
            left.append(Refusal(mark.layer, reason, _PROGRAM))
        elif mark.quantizer.rounding not in (Rounding.NEAREST, Rounding.NEAREST_FIRST):
            left.append(
                Refusal(mark.layer, f"its grid rounds by {mark.quantizer.rounding}", _QONNX)
            )
        elif mark.tensor not in known:
            reason = f"{mark.tensor!r} is computed from constants and is no tensor of the file"
            left.append(Refusal(mark.layer, reason, "export the model with constants folded"))
        elif mark.tensor in grids:
            first = grids[mark.tensor]
            if _differ(first.quantizer, mark.quantizer):
                reason = f"{first.layer} reads {mark.tensor!r} on another grid, which is listed"
                left.append(Refusal(mark.layer, reason, "give both layers one scheme"))
        else:
            constant = mark.codes is not None
            clips = not constant or _reaches_beyond(
                module.graph.constants[mark.tensor], mark.quantizer
            )
            grids[mark.tensor] = TensorGrid(
                mark.tensor, mark.quantizer, constant, mark.layer, clips
            )
    for name, (quantizer, layer) in placed.moved.items():
        if name in known:
            grids.setdefault(name, TensorGrid(name, quantizer, False, layer, True))
    return tuple(grids.values()), tuple(dict.fromkeys(left))


_PROGRAM = "export QDQ or the integer program, which carry it"
_QONNX = "export QONNX, which knows the rule"
_OUTSIDE = {
    Role.SUMMAND: "both summands are rounded to one scale; a list of grids adds real numbers",
    Role.INVERSE: "the divisor's inverse has a grid of its own",
    Role.ROUNDED: "the accumulator's low bits are rounded away",
    Role.JOINED: "joined tensors are laid on one grid first",
}


def _stored_tensors(graph: Graph) -> set[str]:
    """Return the tensors that a model's file names."""
    file = onnx.ModelProto.FromString(graph.source).graph
    named = {tensor.name for tensor in file.initializer} | {value.name for value in file.input}
    return named | {name for node in file.node for name in node.output}


def _reaches_beyond(values: AnyArray, quantizer: UniformQuantizer) -> bool:
    """Tell whether some value lies beyond the outermost codes."""
    places = np.rint(np.asarray(values, dtype=np.float64) / quantizer.scale + quantizer.zero_point)
    return bool(places.min() < quantizer.qmin or places.max() > quantizer.qmax)


def _differ(a: UniformQuantizer, b: UniformQuantizer) -> bool:
    ends = (a.qmin, a.qmax) != (b.qmin, b.qmax)
    return ends or not (
        np.array_equal(a.scale, b.scale) and np.array_equal(a.zero_point, b.zero_point)
    )
