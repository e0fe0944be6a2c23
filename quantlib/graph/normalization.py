"""LayerNormalization that an exporter spelled out in small operators, made one node again.

Before operator set 17 there was no such operator, and PyTorch's exporter wrote nine. In
integers each of them would round once; nobody who quantizes a transformer does that.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from quantlib.graph.model import Node
from quantlib.graph.node_functions import serialize_node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.graph.model import Graph


def fuse_layer_normalization(graph: Graph) -> Graph:
    """Join ``(x - mean) / sqrt(mean((x - mean)^2) + epsilon) * gain + bias`` over the last axis.

    Mean, gain and bias are as LayerNormalization-17 has them: gain and bias are constants along
    the last axis, nothing inside is read from elsewhere. ONNX Runtime knows the operator in
    every operator set.
    """
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.output_names)
    makers = {name: node for node in graph.nodes for name in node.outputs[:1] if name}
    found: dict[str, Node] = {}
    dropped: set[str] = set()
    for node in graph.nodes:
        match = _Match(graph, makers, uses)
        fused = match.layer_normalization(node)
        if fused is not None:
            found[node.name] = fused
            dropped.update(match.inside)
    if not found:
        return graph
    nodes = tuple(found.get(node.name, node) for node in graph.nodes if node.name not in dropped)
    noun = "groups" if len(found) > 1 else "group"
    note = (
        f"{len(found)} {noun} of small operators that make a LayerNormalization run as one float "
        "operator."
    )
    return dataclasses.replace(graph, nodes=nodes, notes=(*graph.notes, note))


class _Match:
    """One attempt to read the pattern backwards from its last node."""

    def __init__(self, graph: Graph, makers: Mapping[str, Node], uses: Mapping[str, int]) -> None:
        self.graph = graph
        self.makers = makers
        self.uses = uses
        self.inside: list[str] = []

    def layer_normalization(self, last: Node) -> Node | None:
        """Return the node that does what the pattern ending in `last` does."""
        graph = self.graph
        scaled, bias = self._with_constant(last, "Add")
        if scaled is None or bias is None:
            return None
        divided, gain = self._with_constant(self._made(scaled, "Mul"), "Mul")
        quotient = self._made(divided, "Div")
        if quotient is None or gain is None:
            return None
        centred, root = quotient.inputs
        sub, sqrt = self._made(centred, "Sub", reads=None), self._made(root, "Sqrt")
        variance, epsilon = self._with_constant(
            self._made(sqrt.inputs[0], "Add") if sqrt else None, "Add"
        )
        squares = self._mean_of(variance)
        mean = self._mean_of(sub.inputs[1]) if sub is not None else None
        if sub is None or mean != sub.inputs[0] or not self._squares(squares, centred):
            return None
        sizes = [np.shape(graph.constants[name]) for name in (gain, bias)]
        if len(sizes[0]) != 1 or sizes[0] != sizes[1] or epsilon is None:
            return None
        if np.size(graph.constants[epsilon]) != 1:
            return None
        width = graph.shapes.get(sub.inputs[0], (None,))[-1:]
        if width != sizes[0]:
            return None  # one gain for all, or a width that nobody knows
        inputs = (sub.inputs[0], gain, bias)
        attributes = {"axis": -1, "epsilon": float(np.ravel(graph.constants[epsilon])[0])}
        proto = serialize_node("LayerNormalization", last.name, inputs, last.outputs, attributes)
        kinds = {**sub.kinds, **last.kinds}
        return Node(
            last.name, "LayerNormalization", "", inputs, last.outputs, attributes, proto,
            kinds={name: kinds[name] for name in (*inputs, *last.outputs) if name in kinds},
        )  # fmt: skip

    def _made(self, name: str | None, op_type: str, *, reads: int | None = 1) -> Node | None:
        """Return the node that makes a tensor, if it is such an operator with so many readers."""
        node = self.makers.get(name or "")
        if node is None or node.op_type != op_type or node.domain:
            return None
        if reads is not None and self.uses[node.outputs[0]] != reads:
            return None
        self.inside.append(node.name)
        return node

    def _with_constant(self, node: Node | None, op_type: str) -> tuple[str | None, str | None]:
        """Return the variable and the constant input of an operator that has one of each."""
        if node is None or node.op_type != op_type or node.domain:
            return None, None
        constants = self.graph.constants
        for variable, constant in (node.inputs, node.inputs[::-1]):
            if constant in constants and variable not in constants:
                return variable, constant
        return None, None

    def _mean_of(self, name: str | None) -> str | None:
        """Return what a tensor is the mean of along the last axis, which is kept."""
        node = self._made(name, "ReduceMean")
        if node is None or not node.attributes.get("keepdims", 1):
            return None
        axes = node.attributes.get("axes")
        if len(node.inputs) > 1:
            axes = self.graph.constants.get(node.inputs[1])
        rank = len(self.graph.shapes.get(node.inputs[0], ()))
        last = axes is not None and tuple(np.ravel(axes)) in {(-1,), (rank - 1,) if rank else (-1,)}
        return node.inputs[0] if last else None

    def _squares(self, name: str | None, of: str) -> bool:
        """Tell whether a tensor holds the squares of another, which nothing else reads."""
        power = self.makers.get(name or "")
        if power is None or self.uses[name or ""] != 1 or power.domain:
            return False
        self.inside.append(power.name)
        if power.op_type == "Mul":
            return power.inputs == (of, of) and self.uses[of] == len(("square", "square", "Div"))
        exponent = self.graph.constants.get(power.inputs[1]) if power.op_type == "Pow" else None
        two = exponent is not None and np.size(exponent) == 1 and float(np.ravel(exponent)[0]) == 2
        return two and power.inputs[0] == of and self.uses[of] == len(("square", "Div"))
