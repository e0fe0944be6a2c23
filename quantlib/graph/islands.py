"""One node as a model of its own, in the element types it has where it comes from.

NumPy and ONNX Runtime exchange no tensors of floats below 32 bits or integers below 8; such
tensors are float32 and 8-bit integers on this side, and what the model says inside.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantlib.graph.walking import all_graphs

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Node

_IR_VERSION = 10

_HALVES = {"float16", "bfloat16"}


def plain(array: AnyArray) -> AnyArray:
    """Return an array in a type that NumPy computes with.

    Floats below 32 bits become float32, integers below 8 bits int8 or uint8, with equal values.
    """
    name = array.dtype.name
    if name in _HALVES or (array.dtype.kind == "V" and name.startswith("float")):
        return array.astype(np.float32)
    if array.dtype.kind == "V" and "int" in name:
        return array.astype(np.uint8 if name.startswith("u") else np.int8)
    return array


@cache
def plain_kind(kind: int) -> int:
    """Return the ONNX element type of what `plain` makes of tensors of another."""
    try:
        array = np.zeros(0, dtype=helper.tensor_dtype_to_np_dtype(kind))
    except KeyError:
        return kind
    return int(helper.np_dtype_to_tensor_dtype(plain(array).dtype))


def given_as(array: AnyArray, kind: int | None) -> AnyArray:
    """Return what a tensor of the model's element type `kind` is fed as.

    Reals are computed in float64 on this side; the model has them in its own precision, which
    is float32 where nothing is known.
    """
    array = plain(np.asarray(array))  # a sum of everything is a scalar, no array
    if array.dtype.kind != "f":
        return array
    wanted = plain_kind(kind) if kind is not None else TensorProto.FLOAT
    return array.astype(np.float64 if wanted == TensorProto.DOUBLE else np.float32)


def single_node_model(
    node: Node, opsets: Mapping[str, int], feeds: Mapping[str, AnyArray], outputs: Sequence[str]
) -> onnx.ModelProto:
    """Return a model that computes one node.

    Parameters
    ----------
    node : Node
        Its constants become initializers: runtimes infer shapes from them.
    opsets : mapping of str to int
        The model's operator sets.
    feeds : mapping of str to array
        Variable inputs as `given_as` returns them. Of integers along one axis, which may be
        shapes or sizes, the number is written down; of all others only the rank.
    outputs : sequence of str
        Which of the node's outputs are wanted.
    """
    nodes, inputs, constants = [], [], []
    for name, value in node.fixed.items():
        if name not in feeds:
            constants.append(numpy_helper.from_array(_in_kind(value, node.kinds.get(name)), name))
    for name, value in feeds.items():
        kind = int(helper.np_dtype_to_tensor_dtype(value.dtype))
        exact = value.ndim == 1 and value.dtype.kind in "iu"
        shape = list(value.shape) if exact else [None] * value.ndim
        inside = node.kinds.get(name, kind)
        given = name
        if inside != kind and plain_kind(inside) == kind:
            given = f"{name}/given"
            nodes.append(helper.make_node("Cast", [given], [name], to=inside))
        inputs.append(helper.make_tensor_value_info(given, kind, shape))
    if node.body:
        body = onnx.GraphProto.FromString(node.body)
        nodes += body.node
        constants += body.initializer
    else:
        nodes.append(onnx.NodeProto.FromString(node.proto))
    graph = helper.make_graph(
        nodes,
        node.op_type,
        inputs,
        [onnx.ValueInfoProto(name=name) for name in outputs],
        constants,
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION)


def with_plain_outputs(
    model: onnx.ModelProto, kinds: Mapping[str, str], names: Collection[str]
) -> dict[str, str]:
    """Append casts to `model` for outputs in types that NumPy does not compute with.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place.
    kinds : mapping of str to str
        ONNX Runtime's words for the outputs' types, ``tensor(float16)``.
    names : collection of str
        The outputs in question.

    Returns
    -------
    dict of str to str
        By which name each of `names` is an output now.
    """
    found = {}
    for name in names:
        target = _PLAIN.get(kinds.get(name, ""))
        found[name] = name
        if target is not None:
            found[name] = f"{name}/plain"
            model.graph.node.append(helper.make_node("Cast", [name], [found[name]], to=target))
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in found.values())
    return found


def with_plain_tensors(model: onnx.ModelProto, kinds: Mapping[str, int]) -> onnx.ModelProto:
    """Return a model whose tensors can be read as outputs; `model` itself where they can.

    A tensor in a type that NumPy does not hold (float16 is not among them) gets another name,
    and its own name goes to the tensor that `plain` makes of it.
    """
    narrow = {
        name
        for node in model.graph.node
        for name in node.output
        if name in kinds
        and kinds[name] != TensorProto.FLOAT16
        and plain_kind(kinds[name]) != kinds[name]
    }
    if not narrow:
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    renamed = {name: f"{name}/exact" for name in narrow}
    for graph in all_graphs(result.graph):
        for value in graph.output:
            if graph is not result.graph:
                value.name = renamed.get(value.name, value.name)
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [renamed.get(name, name) for name in names]
    nodes = list(result.graph.node)
    for node in result.graph.node:
        for name in sorted(narrow):
            if renamed[name] in node.output:
                target = plain_kind(kinds[name])
                nodes.append(helper.make_node("Cast", [renamed[name]], [name], to=target))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del result.graph.node[:], result.graph.value_info[:]
    result.graph.node.extend(copies)
    for value in result.graph.output:
        if value.name in narrow:
            value.type.tensor_type.elem_type = plain_kind(kinds[value.name])
    return result


def plain_name(kind: int) -> str:
    """Return the NumPy name of the type in which tensors of an ONNX type are handed over."""
    wanted = kind if kind == TensorProto.FLOAT16 else plain_kind(kind)
    return str(helper.tensor_dtype_to_np_dtype(wanted))


def _in_kind(value: AnyArray, kind: int | None) -> AnyArray:
    """Return a constant in the element type it has in the model."""
    if kind is None:
        return given_as(value, None)
    return value.astype(helper.tensor_dtype_to_np_dtype(kind))


def runtime_word(kind: int) -> str:
    """Return ONNX Runtime's word for a tensor of an ONNX element type."""
    return f"tensor({TensorProto.DataType.Name(kind).lower()})"


NUMBERS: dict[str, int] = {
    runtime_word(kind): kind
    for name, kind in TensorProto.DataType.items()
    if name not in {"UNDEFINED", "STRING", "COMPLEX64", "COMPLEX128"}
}
"""ONNX Runtime's words for tensors of numbers, and their ONNX element types."""

_PLAIN = {word: plain_kind(kind) for word, kind in NUMBERS.items() if plain_kind(kind) != kind}
