"""Graph to graph: what the reference's importer does before it quantizes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from quantlib.arrays import read_only
from quantlib.graph.carried import (
    FLOAT_QUANT,
    FLOAT_QUANT_PARAMETERS,
    QONNX_DOMAINS,
    carried_quantizer,
    check_number,
    is_carrier,
    is_qonnx,
    quantize_values,
)
from quantlib.graph.growth import check_constant
from quantlib.graph.integers import spell_out_integers
from quantlib.graph.islands import plain
from quantlib.graph.mending import unique
from quantlib.graph.model import Node
from quantlib.graph.node_functions import RuntimeFunction, serialize_node
from quantlib.graph.normalization import fuse_layer_normalization

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.graph.model import Graph


def simplify(graph: Graph) -> Graph:
    """Fold constants, spell integers out, fuse MatMul + Add and Pad + Conv, drop the rest."""
    spelled = spell_out_integers(fold_constants(graph, quantizers=False))
    folded = check_quantizers(fold_constants(spelled))
    whole = drop_empty_parts(drop_unused(folded))
    fused = fuse_pad(fuse_matmul_add(fuse_layer_normalization(whole)))
    return fix_constants(plain_integers(drop_unused(fused)))


def fold_constants(graph: Graph, *, quantizers: bool = True) -> Graph:
    """Replace every node whose inputs are all constants by its value.

    What lies on a grid that the model brings keeps it. Without `quantizers`, QuantizeLinear,
    DequantizeLinear, QONNX's operators and clips of integers stay.
    """
    constants, grids = dict(graph.constants), dict(graph.grids)
    kept: list[Node] = []
    for node in graph.nodes:
        skip = not quantizers and (
            is_carrier(node)
            or node.op_type == "QuantizeLinear"
            or (node.op_type == "Clip" and _is_integer(constants.get(node.inputs[0])))
        )
        if skip or _is_random(node) or not all(n in constants for n in node.inputs if n):
            kept.append(node)
            continue
        arguments = [constants[name] if name else None for name in node.inputs]
        grid = _grid_of(node, arguments, grids)
        if grid is not None and is_carrier(node):
            values: tuple[AnyArray, ...] = (_on_grid(node, grid, arguments),)
        else:
            fixed = {n: constants[n] for n in node.inputs if n}
            alone = dataclasses.replace(node, fixed=fixed)
            check_constant(node, fixed, graph.opsets)
            values = RuntimeFunction(alone, graph.opsets)(*arguments)
        for name, value in zip(node.outputs, values, strict=True):
            if name:
                constants[name] = read_only(value)
        if grid is not None:
            grids[node.outputs[0]] = grid
    return dataclasses.replace(graph, nodes=tuple(kept), constants=constants, grids=grids)


_REARRANGING = {"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"}


def _grid_of(
    node: Node, arguments: list[AnyArray | None], grids: dict[str, UniformQuantizer]
) -> UniformQuantizer | None:
    """Return the grid of a folded node's value, if it lies on one."""
    if is_carrier(node):
        return carried_quantizer(node, arguments[1:])
    grid = grids.get(node.inputs[0]) if node.inputs and node.op_type in _REARRANGING else None
    if grid is None or not grid.is_per_channel:
        return grid
    order = node.attributes.get("perm", tuple(reversed(range(np.ndim(grid.scale)))))
    if node.op_type != "Transpose":
        return None
    params = grid.quant_params
    moved = dataclasses.replace(
        params,
        scale=np.transpose(params.scale, order),
        zero_point=np.transpose(params.zero_point, order),
    )
    return dataclasses.replace(grid, quant_params=moved)


def _on_grid(node: Node, grid: UniformQuantizer, arguments: list[AnyArray | None]) -> AnyArray:
    """Return what a quantizer node makes of a constant, float32."""
    values, *parameters = arguments
    assert values is not None
    if node.op_type == "DequantizeLinear":
        return grid.dequant(values.astype(np.int64)).astype(np.float32)
    given = [p for p in parameters if p is not None]
    return quantize_values(node, grid, values, given).astype(np.float32)


def _is_integer(value: AnyArray | None) -> bool:
    return value is not None and value.dtype.kind in "iuV"


def plain_integers(graph: Graph) -> Graph:
    """Widen what is left of 2- and 4-bit integer constants."""
    constants = {n: v if (w := plain(v)) is v else read_only(w) for n, v in graph.constants.items()}
    return dataclasses.replace(graph, constants=constants)


def fix_constants(graph: Graph) -> Graph:
    """Let every node know which of its inputs are constants, for whoever runs it alone."""
    nodes = tuple(
        dataclasses.replace(
            node, fixed={n: graph.constants[n] for n in node.inputs if n in graph.constants}
        )
        for node in graph.nodes
    )
    return dataclasses.replace(graph, nodes=nodes)


def check_quantizers(graph: Graph) -> Graph:
    """Return the graph; raise UnsupportedOpError when a quantizer's grid depends on data."""
    for node in graph.nodes:
        if is_qonnx(node.domain, node.op_type):
            carried_quantizer(node, [graph.constants.get(name) for name in node.inputs[1:]])
        elif node.op_type == FLOAT_QUANT and node.domain in QONNX_DOMAINS:
            for name, what in zip(node.inputs[1:], FLOAT_QUANT_PARAMETERS, strict=True):
                check_number(node, graph.constants.get(name), what)
    return graph


def drop_empty_parts(graph: Graph) -> Graph:
    """Take constants without elements out of each Concat: they add nothing, and have no range."""
    nodes = []
    for node in graph.nodes:
        kept = tuple(n for n in node.inputs if n not in graph.constants or graph.constants[n].size)
        if node.op_type != "Concat" or node.domain or not 0 < len(kept) < len(node.inputs):
            nodes.append(node)
            continue
        proto = serialize_node("Concat", node.name, kept, node.outputs, node.attributes)
        nodes.append(dataclasses.replace(node, inputs=kept, proto=proto))
    return dataclasses.replace(graph, nodes=tuple(nodes))


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
        if len(graph.shapes.get(matmul.inputs[0], (None, None))) < 2:
            continue  # a vector; Gemm wants a matrix
        shape = graph.constants[bias].shape
        if (
            shape[-1:] == weight.shape[-1:]
            and all(size == 1 for size in shape[:-1][-1:])
            and (len(shape) <= 2)
        ):
            return matmul, bias
    return None


def fuse_pad(graph: Graph) -> Graph:
    """Let a Conv pad for itself where a Pad with zeros before it does, as the reference does.

    The Pad has constant, non-negative pads of spatial axes only, and no other reader.
    """
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.output_names)
    pads = {node.outputs[0]: node for node in graph.nodes if node.op_type == "Pad"}
    nodes, dropped = [], set()
    for node in graph.nodes:
        pad = pads.get(node.inputs[0]) if node.op_type == "Conv" and not node.domain else None
        amounts = (
            _zero_padding(graph, pad) if pad is not None and uses[pad.outputs[0]] == 1 else None
        )
        if pad is None or amounts is None or node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
            nodes.append(node)
            continue
        own = node.attributes.get("pads", (0,) * len(amounts))
        merged = tuple(a + b for a, b in zip(own, amounts, strict=True))
        inputs = (pad.inputs[0], *node.inputs[1:])
        attributes = {**node.attributes, "pads": merged}
        proto = serialize_node("Conv", node.name, inputs, node.outputs, attributes)
        nodes.append(Node(node.name, "Conv", "", inputs, node.outputs, attributes, proto))
        dropped.add(pad.name)
    kept = tuple(node for node in nodes if node.name not in dropped)
    return dataclasses.replace(graph, nodes=kept)


def _zero_padding(graph: Graph, pad: Node) -> tuple[int, ...] | None:
    """Return how far a Pad reaches on each spatial side with zeros; None if it does more."""
    if pad.attributes.get("mode", "constant") != "constant" or len(pad.inputs) > 3:
        return None
    given = [graph.constants.get(name) if name else None for name in pad.inputs[1:]]
    if any(name and value is None for name, value in zip(pad.inputs[1:], given, strict=True)):
        return None
    amounts = given[0] if given else pad.attributes.get("pads")
    filler = given[1] if len(given) > 1 and given[1] is not None else pad.attributes.get("value", 0)
    if amounts is None or np.any(filler):
        return None
    flat = [int(a) for a in np.ravel(amounts)]
    half = len(flat) // 2
    if half < 3 or min(flat) < 0 or any(flat[:2]) or any(flat[half : half + 2]):
        return None
    return (*flat[2:half], *flat[half + 2 :])
