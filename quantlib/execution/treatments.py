"""Which node is treated how, decided from the graph alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.execution.own_grids import OwnGrids, runs_alone
from quantlib.execution.products import has_products
from quantlib.graph.carried import is_carrier
from quantlib.ops.base import FloatOp, IslandOp, MixingOp, MovingOp, QuantizedOp, Treatment
from quantlib.ops.registry import ONNX_OPS_TO_QUANTIZED_IMPL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.graph.model import Graph, Node, Shape


@dataclass(frozen=True, slots=True)
class NodePlan:
    """How a node is treated.

    Parameters
    ----------
    treatment : Treatment
        What happens to it.
    op_class : type
        The class that does it.
    sources : frozenset of str
        The integer tensors the node's output is computed from; a function of exactly one can
        be fused into a table look-up.
    """

    treatment: Treatment
    op_class: type[QuantizedOp]
    sources: frozenset[str]


def unseen_nodes(graph: Graph, plans: Sequence[NodePlan]) -> tuple[str, ...]:
    """Return the nodes whose products nobody looked into, by name, in order.

    Float islands that multiply and add inside, or whose operator is unknown: their accumulators
    are not bounded, so that no limit can be confirmed over them.
    """
    return tuple(
        node.name
        for node, decided in zip(graph.nodes, plans, strict=True)
        if decided.treatment is Treatment.FLOAT
        and issubclass(decided.op_class, IslandOp)
        and has_products(node)
    )


def plan(graph: Graph, *, quantize_rest: bool | None = None) -> tuple[NodePlan, ...]:
    """Return the treatment of each node of `graph`, in order.

    Parameters
    ----------
    graph : Graph
        The model.
    quantize_rest : bool or None
        As in `QuantizationConfig`: whether what a model's own grids do not cover is quantized.
    """
    sources = {info.name: frozenset([info.name]) for info in graph.inputs}
    alone, own = runs_alone(graph, quantize_rest), OwnGrids(graph)
    normalized = _only_normalized(graph)
    plans = []
    for node in graph.nodes:
        decided = _treat(node, sources, graph.shapes, normalized)
        on_integers = issubclass(decided.op_class, MixingOp | MovingOp)
        covered = on_integers and own.covers(node, decided.op_class)
        own.note(node, decided.op_class, covered=covered)
        if alone and on_integers and not covered:
            decided = NodePlan(Treatment.FLOAT, IslandOp, decided.sources)
        sources.update(dict.fromkeys(node.outputs, decided.sources))
        plans.append(decided)
    return tuple(plans)


NORMALIZERS = frozenset(
    ["GroupNormalization", "InstanceNormalization", "LayerNormalization", "LogSoftmax",
     "RMSNormalization", "SimplifiedLayerNormalization", "Softmax"]
)  # fmt: skip
"""Operators that bring what they read to a common scale, in float."""


def _only_normalized(graph: Graph) -> frozenset[str]:
    """Return the tensors that nothing but a normalizing operator reads.

    What is added just before belongs to it, as in ONNX Runtime's fused SkipLayerNormalization:
    a grid between the two would serve nobody. Attention adds 0 to its scores, or -10000 and
    less to what must have no weight; one grid for both would leave the scores a handful of codes.
    """
    normalized: set[str] = set()
    others = set(graph.output_names)
    for node in graph.nodes:
        if node.op_type in NORMALIZERS and not node.domain:
            normalized.update(node.inputs[:1])
            others.update(node.inputs[1:])
        else:
            others.update(node.inputs)
    return frozenset(normalized - others)


def _treat(
    node: Node,
    sources: Mapping[str, frozenset[str]],
    shapes: Mapping[str, Shape],
    normalized: frozenset[str],
) -> NodePlan:
    """Decide one node from what its inputs are computed from."""
    of_inputs = [sources.get(name, frozenset()) for name in node.inputs]
    read = frozenset().union(*of_inputs)
    known = not node.domain or is_carrier(node)
    op_class = ONNX_OPS_TO_QUANTIZED_IMPL.get(node.op_type) if known else None
    new = frozenset([next(filter(None, node.outputs), node.name)])
    if op_class is not None and op_class.treatment is Treatment.RAW:
        return NodePlan(Treatment.RAW, op_class, frozenset())
    if not read:
        return NodePlan(Treatment.RAW, IslandOp, frozenset())
    island = NodePlan(Treatment.FLOAT, IslandOp, new)
    if op_class is None or sum(map(bool, node.outputs)) > 1:
        return island
    if issubclass(op_class, MixingOp) and any(0 in shapes.get(n, ()) for n in node.inputs):
        return island  # what has no elements has no grid
    on_integers = issubclass(op_class, MixingOp | MovingOp)
    if on_integers and any(of_inputs[1:]) and not op_class.takes_variables:
        return island  # weights, shapes or indices that depend on data
    if issubclass(op_class, MixingOp):
        if op_class.fuses and len(read) == 1:
            return NodePlan(Treatment.LOOKUP, FloatOp, read)
        if op_class.fuses and node.outputs[0] in normalized:
            return island
        ranks = [len(shapes[name]) for name in node.inputs[:2] if name in shapes]
        if min(ranks, default=op_class.fewest_axes) < op_class.fewest_axes:
            return island
        return NodePlan(Treatment.INTEGER, op_class, new)
    if issubclass(op_class, MovingOp):
        return NodePlan(Treatment.MOVER, op_class, new) if of_inputs[0] else island
    if len(read) == 1:
        return NodePlan(Treatment.LOOKUP, op_class, read)
    return NodePlan(Treatment.FLOAT, op_class, new)
