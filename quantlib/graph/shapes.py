"""Inferred shapes of a model's tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from quantlib.graph.walking import all_nodes, bodies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.graph.model import Shape


def with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the types and shapes that ONNX can infer.

    A model that breaks rules comes back as it is: the checker says which.

    Notes
    -----
    Followed are values that are shapes. A Range of which a bound is computed is left out of that:
    onnx would write down all its values, however many.
    """
    rough = without_values(model)
    kinds = {value.name: value for value in rough.graph.value_info}
    computed = _computed_ranges(model)
    if any(name not in kinds for name in computed) or _has_inner_range(model):
        return rough
    cut = model
    if computed:
        cut = onnx.ModelProto()
        cut.CopyFrom(model)
        for i, node in reversed(list(enumerate(cut.graph.node))):
            if node.op_type == "Range" and node.output[0] in computed:
                cut.graph.input.append(kinds[node.output[0]])
                del cut.graph.node[i]
    try:
        found: onnx.ModelProto = onnx.shape_inference.infer_shapes(cut, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError):
        return model
    if computed:
        inputs = list(found.graph.input)[len(model.graph.input) :]
        del found.graph.input[len(model.graph.input) :], found.graph.node[:]
        found.graph.value_info.extend(inputs)
        found.graph.node.extend(model.graph.node)
    return found


def without_values(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with what shapes tell of shapes; no value is followed."""
    try:
        found: onnx.ModelProto = onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError):  # of types that are none
        return model
    return found


def _computed_ranges(model: onnx.ModelProto) -> set[str]:
    """Return the results of each Range that does not have constant bounds."""
    fixed = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            fixed.update(node.output)
    return {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Range" and node.output and not fixed.issuperset(node.input)
    }


def _has_inner_range(model: onnx.ModelProto) -> bool:
    inner = (n for node in model.graph.node for b in bodies(node) for n in all_nodes(b))
    return any(node.op_type == "Range" for node in inner)


def words_of(shape: Shape) -> str:
    """Return a shape in words: "n x 4"."""
    return " x ".join("?" if size is None else str(size) for size in shape) or "a single number"


def infer_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Return the shape of every tensor whose rank ONNX can infer."""
    inferred = with_shapes(model).graph
    found: dict[str, Shape] = {t.name: tuple(t.dims) for t in model.graph.initializer}
    for value in [*inferred.input, *inferred.value_info, *inferred.output]:
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            found[value.name] = shape_of(tensor)
    return found


def shapes_with(source: bytes, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, Shape]:
    """Return inferred shapes of a serialized model whose inputs have the given sizes."""
    model = onnx.ModelProto.FromString(source)
    for value in model.graph.input:
        for dim, size in zip(
            value.type.tensor_type.shape.dim, sizes.get(value.name, ()), strict=False
        ):
            dim.dim_value = size
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return infer_shapes(model)


def shape_of(tensor: onnx.TypeProto.Tensor) -> Shape:
    """Return sizes as int, symbol, or None where nobody knows: older converters write -1."""
    return tuple(
        (int(d.dim_value) if d.dim_value >= 0 else None)
        if d.HasField("dim_value")
        else (d.dim_param or None)
        for d in tensor.shape.dim
    )
