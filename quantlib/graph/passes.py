"""Graph to graph: what the reference's importer does before it quantizes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from quantlib.arrays import read_only
from quantlib.graph.model import Node
from quantlib.graph.node_functions import RuntimeFunction, serialize_node

if TYPE_CHECKING:
    from quantlib.graph.model import Graph


def simplify(graph: Graph) -> Graph:
    """Fold constants, drop what no output needs, fuse MatMul + Add."""
    return drop_unused(fuse_matmul_add(fold_constants(graph)))


def fold_constants(graph: Graph) -> Graph:
    """Replace every node whose inputs are all constants by its value."""
    constants = dict(graph.constants)
    kept: list[Node] = []
    for node in graph.nodes:
        if _is_random(node) or not all(name in constants for name in node.inputs if name):
            kept.append(node)
            continue
        arguments = [constants[name] if name else None for name in node.inputs]
        values = RuntimeFunction(node, graph.opsets)(*arguments)
        for name, value in zip(node.outputs, values, strict=True):
            if name:
                constants[name] = read_only(value)
    return dataclasses.replace(graph, nodes=tuple(kept), constants=constants)


def _is_random(node: Node) -> bool:
    return node.op_type.startswith("Random") or node.op_type in {"Bernoulli", "Multinomial"}


def drop_unused(graph: Graph) -> Graph:
    """Drop nodes and constants that no graph output depends on."""
    needed = set(graph.output_names)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    constants = {name: value for name, value in graph.constants.items() if name in needed}
    return dataclasses.replace(graph, nodes=tuple(reversed(kept)), constants=constants)


def fuse_matmul_add(graph: Graph) -> Graph:
    """Turn ``MatMul(x, w) + b`` with a 2-D constant `w` and a bias `b` into one Gemm.

    The reference's importer does the same; the node is called ``Gemm_Node`` there and here.
    A bias is 1-D, or has one row, and as many entries as `w` has columns.
    """
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.output_names)
    producers = {node.outputs[0]: node for node in graph.nodes if node.op_type == "MatMul"}
    taken = {node.name for node in graph.nodes}
    replaced: dict[str, Node] = {}
    dropped: set[str] = set()
    for node in graph.nodes:
        match = _matmul_and_bias(graph, node, producers)
        if match is None or uses[match[0].outputs[0]] != 1:
            continue
        matmul, bias = match
        name = unique("Gemm_Node", taken)
        inputs = (*matmul.inputs, bias)
        attributes = {"alpha": 1.0, "beta": 1.0}
        proto = serialize_node("Gemm", name, inputs, node.outputs, attributes)
        replaced[node.name] = Node(name, "Gemm", "", inputs, node.outputs, attributes, proto)
        dropped.add(matmul.name)
    nodes = tuple(replaced.get(n.name, n) for n in graph.nodes if n.name not in dropped)
    return dataclasses.replace(graph, nodes=nodes)


def _matmul_and_bias(
    graph: Graph, node: Node, producers: dict[str, Node]
) -> tuple[Node, str] | None:
    """Return the MatMul and the bias name when `node` adds a bias to a MatMul of a constant."""
    if node.op_type != "Add" or node.domain:
        return None
    for product, bias in (node.inputs, node.inputs[::-1]):
        matmul = producers.get(product)
        if matmul is None or bias not in graph.constants:
            continue
        weight = graph.constants.get(matmul.inputs[1])
        if weight is None or weight.ndim != 2 or matmul.inputs[0] in graph.constants:
            continue
        shape = graph.constants[bias].shape
        if (
            shape[-1:] == weight.shape[-1:]
            and all(size == 1 for size in shape[:-1][-1:])
            and (len(shape) <= 2)
        ):
            return matmul, bias
    return None


def unique(name: str, taken: set[str]) -> str:
    """Return `name`, with a number if it is taken, and mark it as taken."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate
