"""Grids of the model inputs: on which codes the clear side quantizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantlib.ops.base import FloatOp, Treatment
from quantlib.ops.carried import CarriedQuantizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.tensor import Tensor
    from quantlib.execution.layer import QuantizedLayer


def input_grid(
    entered: Tensor | None,
    name: str,
    layers: Sequence[QuantizedLayer],
    sources: Mapping[str, frozenset[str]],
    *,
    alone: bool = False,
) -> UniformQuantizer | None:
    """Return the grid of a model input: None for inputs of integer type, and without one.

    The one that the model brings, if only its quantizer reads it; the first integer operator's,
    if only such read it; else its own width, signed.

    Parameters
    ----------
    entered : Tensor or None
        The input on the grid of its own width.
    name : str
        The input.
    layers : sequence of QuantizedLayer
        All layers, calibrated.
    sources : mapping of str to frozenset of str
        Which integer tensors each tensor is a function of.
    alone : bool
        Whether nothing is quantized but what has a grid that the model brings.
    """
    if entered is None:
        return None
    direct = [layer for layer in layers if name in layer.node.inputs]
    carried = {layer.outputs[0] for layer in direct}
    if len(carried) == 1 and all(_takes_inputs(layer) for layer in direct):
        (grid,) = carried
        if grid is not None and grid.is_carried:
            return grid
    if alone:
        return None
    first = deciding_reader(name, layers, sources)
    if first is None:
        return entered.quantizer
    place = next((i for i, n in enumerate(first.node.inputs) if n == name), -1)
    return entered.requantized(first.input_options, first.input_ranges.get(place)).quantizer


def deciding_reader(
    name: str, layers: Sequence[QuantizedLayer], sources: Mapping[str, frozenset[str]]
) -> QuantizedLayer | None:
    """Return the integer operator whose grid a model input takes; None if it has its own.

    The first one, unless a function of the input is computed in float.
    """
    readers = [
        layer for layer in layers if any(name in sources.get(i, ()) for i in layer.node.inputs)
    ]
    fused = any(isinstance(r.op, FloatOp) and r.treatment is not Treatment.RAW for r in readers)
    return None if fused or not readers else readers[0]


def _takes_inputs(layer: QuantizedLayer) -> bool:
    """Tell whether a layer only rounds what it reads to a grid that came with the model."""
    return isinstance(layer.op, CarriedQuantizer) and layer.op.takes_inputs
