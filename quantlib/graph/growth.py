"""How much a model computes, told from shapes before anything runs.

A file of two hundred bytes can ask for 64 GB. What its shapes tell is bounded here; what only
the data decide is bounded by whoever runs the model.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from quantlib.errors import ModelLoadError
from quantlib.graph.shapes import shape_of, with_shapes, without_values, words_of
from quantlib.graph.walking import bodies
from quantlib.limits import above

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Node, Shape

_MOST_SHOWN_VALUES = 4096
"""Constants up to this size may be sizes, counts or factors: onnx is shown their values."""


def check_sizes(model: onnx.ModelProto, label: str) -> None:
    """Raise ModelLoadError when tensors, or all of one call, are larger than the limits.

    Parameters
    ----------
    model : onnx.ModelProto
        Sorted. Sizes that are free count as 1.
    label : str
        What messages call it.
    """
    for infer in (without_values, with_shapes):  # values of shapes are followed once sizes are sane
        shapes = _made(infer(model))
        total = 0
        for node in model.graph.node:
            for name in node.output:
                count = _count(shapes.get(name, (0,)))
                total += count
                _refuse(f"{label}: ", node.name, node.op_type, name, shapes.get(name, ()), count)
        if too_much := above("call_values", total):
            raise ModelLoadError(
                f"{label}: the tensors of one call hold {total} numbers together, {too_much}; "
                "export the model for smaller data or a smaller batch."
            )


def check_constant(
    node: Node, arguments: Mapping[str, AnyArray], opsets: Mapping[str, int]
) -> None:
    """Raise ModelLoadError when a node of constants makes more than the limits allow.

    Parameters
    ----------
    node : Node
        One whose inputs are all constants.
    arguments : mapping of str to array
        Its inputs by name.
    opsets : mapping of str to int
        The model's operator sets.
    """
    if node.body:
        return
    inputs, constants = [], []
    for name, value in arguments.items():
        kind = node.kinds.get(name) or int(helper.np_dtype_to_tensor_dtype(value.dtype))
        if value.size <= _MOST_SHOWN_VALUES:
            constants.append(numpy_helper.from_array(np.asarray(value), name))
        else:
            inputs.append(helper.make_tensor_value_info(name, kind, value.shape))
    graph = helper.make_graph(
        [onnx.NodeProto.FromString(node.proto)],
        "one",
        inputs,
        [onnx.ValueInfoProto(name=name) for name in node.outputs if name],
        constants,
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    shapes = _made(without_values(helper.make_model(graph, opset_imports=imports)))
    for name in node.outputs:
        shape = shapes.get(name, (0,))
        _refuse("", node.name, node.op_type, name, shape, _count(shape))


def _made(inferred: onnx.ModelProto) -> dict[str, Shape]:
    """Return the known shapes of what nodes make."""
    return {
        value.name: shape_of(value.type.tensor_type)
        for value in [*inferred.graph.value_info, *inferred.graph.output]
        if value.type.tensor_type.HasField("shape")
    }


def _count(shape: Shape) -> int:
    return math.prod(size for size in shape if isinstance(size, int))


def _refuse(start: str, node: str, op_type: str, name: str, shape: Shape, count: int) -> None:
    if too_much := above("tensor_values", count):
        raise ModelLoadError(
            f"{start}node {node!r} ({op_type}) makes {name!r} of {words_of(shape)}: {count} "
            f"numbers, {too_much}; export the model for smaller data."
        )


def check_loops(model: onnx.ModelProto, label: str) -> None:
    """Raise ModelLoadError for a Loop that takes too many steps, or never ends.

    Steps that the data decide are not known here. Loops inside loops multiply.
    """
    _check_loops(model.graph, {}, 1, label)


def _check_loops(
    graph: onnx.GraphProto, outside: Mapping[str, int], before: int, label: str
) -> None:
    known = {**outside, **_numbers(graph)}
    for node in graph.node:
        steps = 1
        if node.op_type == "Loop" and not node.domain:
            count, condition = (*node.input, "", "")[:2]
            steps = max(1, known.get(count, 1))
            if not count and known.get(condition, not condition) and _goes_on(node):
                raise ModelLoadError(
                    f"{label}: node {node.name!r} (Loop) has no number of steps and a condition "
                    "that stays true: it never ends. Give it one and export again."
                )
            if too_much := above("loop_steps", before * steps):
                raise ModelLoadError(
                    f"{label}: node {node.name!r} (Loop) takes {before * steps} steps, {too_much}; "
                    "give the model without the loop, or with fewer steps."
                )
        for body in bodies(node):
            _check_loops(body, known, before * steps, label)


def _numbers(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the single integers and truth values among the constants of a graph."""
    tensors = [(tensor.name, tensor) for tensor in graph.initializer]
    tensors += [
        (node.output[0], attribute.t)
        for node in graph.node
        if node.op_type == "Constant" and node.output
        for attribute in node.attribute
        if attribute.HasField("t")
    ]
    return {
        name: int(numpy_helper.to_array(tensor).ravel()[0])
        for name, tensor in tensors
        if math.prod(tensor.dims) == 1
        and tensor.data_type in (tensor.INT64, tensor.INT32, tensor.BOOL)
    }


def _goes_on(node: onnx.NodeProto) -> bool:
    """Tell whether the condition that a Loop's body returns is the one it was given, or true."""
    for body in bodies(node):
        if not body.output or len(body.input) < 2:
            return False
        passed = {body.input[1].name, *(name for name, value in _numbers(body).items() if value)}
        for inner in body.node:
            if inner.op_type == "Identity" and passed.issuperset(inner.input):
                passed.update(inner.output)
        return body.output[0].name in passed
    return False


def check_depth(graphs: Iterable[onnx.GraphProto], label: str) -> None:
    """Raise ModelLoadError when graphs lie too deep inside one another."""
    depth, level = 0, list(graphs)
    while level:
        if too_much := above("graph_depth", depth):
            raise ModelLoadError(
                f"{label}: graphs lie {depth} deep and more inside one another, {too_much}; "
                "export the model without nested If, Loop and Scan."
            )
        depth += 1
        level = [body for graph in level for node in graph.node for body in bodies(node)]
