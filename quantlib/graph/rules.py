"""The rules of ONNX that say whether a node, a name or a number can be, in the project's words.

Asked before any library sees the model: runtimes divide by a group of 0, and end the process for
a missing input.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import onnx
from onnx import AttributeProto

from quantlib.errors import ModelLoadError
from quantlib.graph.operators import is_extension
from quantlib.graph.walking import all_graphs, all_nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ANY = 2**31 - 1
"""What schemas say of an input or output that may be repeated."""

_POSITIVE = ("group", "strides", "dilations", "kernel_shape")
_PADDING = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
_OPTIONAL = onnx.defs.OpSchema.FormalParameterOption.Optional
_REMEDY = "correct it and export again."


def check_names(model: onnx.ModelProto, label: str) -> None:
    """Raise ModelLoadError for a tensor that is made, stored or listed more than once."""
    for graph in all_graphs(model.graph):
        inputs = [value.name for value in graph.input]
        stored = [tensor.name for tensor in graph.initializer]
        stored += [tensor.values.name for tensor in graph.sparse_initializer]
        made = [name for node in graph.node for name in node.output if name]
        _refuse_repeated(label, inputs, "is listed twice among the inputs")
        _refuse_repeated(label, stored, "is stored twice")
        _refuse_repeated(label, made, "is made twice, by two nodes or two outputs of one")
        both = set(made).intersection([*inputs, *stored])
        if both:
            name = min(both)
            (maker,) = [node for node in graph.node if name in node.output]
            raise ModelLoadError(
                f"{label}: tensor {name!r} is there twice: as an input or stored tensor, and as "
                f"the result of node {maker.name!r} ({maker.op_type}); give it one name each."
            )


def check_types(model: onnx.ModelProto, label: str) -> None:
    """Raise ModelLoadError for element types that ONNX does not define."""
    known = onnx.TensorProto.DataType.values()
    for graph in all_graphs(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            kind = value.type.tensor_type.elem_type
            if kind not in known:
                raise ModelLoadError(
                    f"{label}: tensor {value.name!r} has the element type number {kind}, which "
                    f"ONNX does not define; {_REMEDY}"
                )


def _refuse_repeated(label: str, names: Sequence[str], what: str) -> None:
    if len(set(names)) == len(names):
        return
    name = next(name for name, count in Counter(names).items() if count > 1)
    raise ModelLoadError(f"{label}: tensor {name!r} {what}; give each a name of its own.")


def check_nodes(model: onnx.ModelProto, label: str) -> None:
    """Raise ModelLoadError for attributes, inputs and outputs that no operator can have."""
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    for node in all_nodes(model.graph):
        where = f"{label}: node {node.name!r} ({node.op_type})"
        _check_numbers(node, where)
        if is_extension(node, opsets):
            continue
        try:
            schema = onnx.defs.get_schema(node.op_type, opsets.get(node.domain, 1), node.domain)
        except onnx.defs.SchemaError:
            continue
        _check_attributes(node, schema, where)
        _check_inputs(node, schema, where)
        _check_outputs(node, schema, where)


def _check_numbers(node: onnx.NodeProto, where: str) -> None:
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            raise ModelLoadError(
                f"{where}: attribute {attribute.name!r} refers to one of a function that is "
                "not there; export the model again."
            )
        numbers = [attribute.i] if attribute.HasField("i") else list(attribute.ints)
        if attribute.name in _POSITIVE and min(numbers, default=1) < 1:
            raise ModelLoadError(
                f"{where}: {attribute.name} is {', '.join(map(str, numbers))}; every such "
                "number is at least 1: correct it and export again."
            )
        if attribute.name == "keepdims" and attribute.i not in (0, 1):
            raise ModelLoadError(
                f"{where}: keepdims is {attribute.i}; it is 0 or 1: correct it and export again."
            )
        if attribute.name == "auto_pad" and attribute.s.decode("utf-8", "replace") not in _PADDING:
            raise ModelLoadError(
                f"{where}: auto_pad is {attribute.s.decode('utf-8', 'replace')[:40]!r}; known are "
                f"{', '.join(_PADDING)}: {_REMEDY}"
            )


def _check_attributes(node: onnx.NodeProto, schema: onnx.defs.OpSchema, where: str) -> None:
    """Raise ModelLoadError for attributes that lack, or that the operator does not have."""
    given = [attribute.name for attribute in node.attribute]
    for name, count in Counter(given).items():
        if count > 1:
            raise ModelLoadError(f"{where}: attribute {name!r} is given twice; {_REMEDY}")
        if name not in schema.attributes and not name.startswith("_"):
            raise ModelLoadError(
                f"{where}: the operator has no attribute {name!r}; take it away, or say the "
                "operator set that has it, and export again."
            )
    for attribute in node.attribute:
        wanted = schema.attributes.get(attribute.name)
        if wanted is None or attribute.type == AttributeProto.UNDEFINED:
            continue
        wanted_kind = str(wanted.type).rpartition(".")[2]
        if wanted_kind != AttributeProto.AttributeType.Name(attribute.type):
            raise ModelLoadError(
                f"{where}: attribute {attribute.name!r} is of the kind "
                f"{_kind(AttributeProto.AttributeType.Name(attribute.type))}, the operator takes "
                f"{_kind(wanted_kind)}; {_REMEDY}"
            )
    missing = [n for n, known in schema.attributes.items() if known.required and n not in given]
    if missing:
        raise ModelLoadError(f"{where}: attribute {missing[0]!r} is missing; {_REMEDY}")


def _kind(name: str) -> str:
    words = {"INT": "whole number", "FLOAT": "number", "STRING": "text", "TENSOR": "tensor"}
    one = words.get(name.removesuffix("S"), name.removesuffix("S").replace("_", " ").lower())
    return f"list of {one}s" if name.endswith("S") else one


def _check_inputs(node: onnx.NodeProto, schema: onnx.defs.OpSchema, where: str) -> None:
    """Raise ModelLoadError when a node has too few or many inputs, or leaves one it needs blank."""
    if not schema.min_input <= len(node.input) <= schema.max_input:
        raise ModelLoadError(
            f"{where}: it has {len(node.input)} inputs, the operator takes "
            f"{_range(schema.min_input, schema.max_input)}; correct it and export again."
        )
    for i in _blank(node.input, schema.inputs):
        raise ModelLoadError(
            f"{where}: input {i + 1} is left blank, and the operator needs it; connect it "
            "and export again."
        )


def _check_outputs(node: onnx.NodeProto, schema: onnx.defs.OpSchema, where: str) -> None:
    if not schema.min_output <= len(node.output) <= schema.max_output:
        raise ModelLoadError(
            f"{where}: it has {len(node.output)} outputs, the operator makes "
            f"{_range(schema.min_output, schema.max_output)}; {_REMEDY}"
        )
    for i in _blank(node.output, schema.outputs):
        raise ModelLoadError(f"{where}: output {i + 1} has no name; name it and export again.")


def _range(least: int, most: int) -> str:
    if most == least:
        return f"{least}"
    return f"{least} to {most}" if most < _ANY else f"{least} or more"


def _blank(
    names: Iterable[str], formals: Sequence[onnx.defs.OpSchema.FormalParameter]
) -> Iterable[int]:
    """Yield the places of names that are left blank where the operator needs them."""
    for i, name in enumerate(names):
        formal = formals[min(i, len(formals) - 1)] if formals else None
        if not name and (formal is None or formal.option != _OPTIONAL):
            yield i
