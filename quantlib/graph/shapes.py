"""Inferred shapes of a model's tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.graph.model import Shape


def with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the types and shapes that ONNX can infer.

    A model that breaks rules comes back as it is: the checker says which.
    """
    try:
        found: onnx.ModelProto = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return model
    return found


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
