"""Models that bring their grids: which tensors lie on one, and which operators these cover."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.rounding import Rounding
from quantlib.graph.carried import DYNAMIC, carried_quantizer, is_carrier, is_qonnx
from quantlib.ops.arithmetic import Add, Div
from quantlib.ops.base import MixingOp, MovingOp, QuantizedOp, WeightedOp
from quantlib.ops.movers import Concat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.graph.model import Graph, Node


def runs_alone(graph: Graph, quantize_rest: bool | None) -> bool:
    """Tell whether a model runs on the grids it brings and nothing else is quantized.

    Parameters
    ----------
    graph : Graph
        The model.
    quantize_rest : bool or None
        As in `QuantizationConfig`.
    """
    brings = [node for node in graph.nodes if is_carrier(node)]
    if not brings and not graph.grids:
        return False
    if quantize_rest is not None:
        return not quantize_rest
    linear = [grid.rounding is Rounding.NEAREST_FIRST for grid in graph.grids.values()]
    return all(linear) and not any(is_qonnx(node.domain, node.op_type) for node in brings)


class OwnGrids:
    """The tensors that lie on a grid of the model's own, node after node.

    Parameters
    ----------
    graph : Graph
        The model.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._grids: dict[str, UniformQuantizer | None] = {}  # None: another one for every call

    def covers(self, node: Node, op_class: type[QuantizedOp]) -> bool:
        """Tell whether an integer operator reads all its factors from grids of the model's own.

        A sum needs grids whose steps are multiples of one another, a join equal ones: else its
        operands would have to be rounded again. A quotient has no grid of its own.
        """
        constants = self.graph.constants
        variables = [n for n in node.inputs if n and n not in constants]
        on_grids = [name for name in variables if name in self._grids]
        if issubclass(op_class, MovingOp) and not issubclass(op_class, Concat):
            return node.inputs[0] in self._grids
        if len(on_grids) < len(variables) or issubclass(op_class, Div):
            return False
        factors = node.inputs[:2] if issubclass(op_class, WeightedOp | Concat) else ()
        if issubclass(op_class, Concat):
            factors = node.inputs
        if any(name in constants and name not in self.graph.grids for name in factors):
            return False
        grids = [self._grids[name] for name in on_grids]
        if issubclass(op_class, Concat):
            grids += [self.graph.grids[name] for name in factors if name in constants]
            return _equal(grids)
        return _commensurate(grids) if issubclass(op_class, Add) else True

    def note(self, node: Node, op_class: type[QuantizedOp], *, covered: bool) -> None:
        """Remember what a node's output lies on."""
        name = node.outputs[0]
        if is_carrier(node):
            parameters = [self.graph.constants.get(n) for n in node.inputs[1:]]
            grid = None if node.op_type == DYNAMIC else carried_quantizer(node, parameters)
            if node.op_type == DYNAMIC or (grid is not None and not grid.is_per_channel):
                self._grids[name] = grid
        elif covered and (
            issubclass(op_class, MovingOp)
            or (issubclass(op_class, MixingOp) and op_class.keeps_operand_grid)
        ):
            self._grids[name] = self._grids.get(node.inputs[0])


def _equal(grids: Sequence[UniformQuantizer | None]) -> bool:
    first = grids[0]
    return first is not None and all(
        grid is not None
        and grid.quant_params == first.quant_params
        and (grid.qmin, grid.qmax) == (first.qmin, first.qmax)
        for grid in grids
    )


def _commensurate(grids: Sequence[UniformQuantizer | None]) -> bool:
    """Tell whether every step is a whole multiple of the finest."""
    if any(grid is None for grid in grids):
        return False
    steps = np.array([float(np.asarray(grid.scale)) for grid in grids if grid is not None])
    ratios = steps / steps.min()
    return bool(np.all(np.abs(ratios - np.rint(ratios)) <= 1e-9 * ratios))
