"""Models exported for a fixed number of samples, made to take any number."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from quantlib.graph.runtime import open_session
from quantlib.graph.shapes import infer_shapes

BATCH = "batch"
"""The symbol that replaces the fixed size."""


def free_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return `model` with a symbolic batch axis where it was fixed, or `model` itself.

    The first axis of every input must have one and the same fixed size. Sizes written into
    constant shapes of Reshape follow the data's first axis. The result is kept only if it runs
    on twice the samples and answers with twice the samples.
    """
    fixed = _fixed_size(model)
    if fixed is None:
        return model
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    first_sizes = {name: shape[0] for name, shape in infer_shapes(model).items() if shape}
    for value in [*freed.graph.input, *freed.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_value == fixed:
            dims[0].dim_param = BATCH
    del freed.graph.value_info[:]
    _free_reshapes(freed, fixed, first_sizes)
    return freed if _answers_for(freed, 2 * fixed) else model


def _fixed_size(model: onnx.ModelProto) -> int | None:
    """Return the fixed first size that all variable inputs share, if they do."""
    constants = {tensor.name for tensor in model.graph.initializer}
    sizes: set[int] = set()
    for value in model.graph.input:
        if value.name not in constants:
            dims = value.type.tensor_type.shape.dim
            sizes.add(dims[0].dim_value if dims and dims[0].HasField("dim_value") else 0)
    return sizes.pop() if len(sizes) == 1 and min(sizes) > 0 else None


def _free_reshapes(
    model: onnx.ModelProto, fixed: int, first_sizes: dict[str, int | str | None]
) -> None:
    """Let constant target shapes copy the batch from the data (0 means copy)."""
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            shapes[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    for i, node in enumerate(model.graph.node):
        if node.op_type != "Reshape" or first_sizes.get(node.input[0]) != fixed:
            continue
        if len(node.input) == 1:  # before operator set 5 the shape is an attribute
            (attribute,) = (a for a in node.attribute if a.name == "shape")
            if attribute.ints and attribute.ints[0] == fixed:
                attribute.ints[0] = 0
            continue
        shape = shapes.get(node.input[1])
        if shape is None or shape.size == 0 or shape[0] != fixed:
            continue
        name = f"{node.input[1]}/{BATCH}_{i}"
        freed = np.array([0, *shape[1:]], dtype=np.int64)
        model.graph.initializer.append(numpy_helper.from_array(freed, name))
        node.input[1] = name


def _answers_for(model: onnx.ModelProto, samples: int) -> bool:
    """Run zeros through the model; tell whether the first output has `samples` rows."""
    constants = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        sizes = [d.dim_value or 1 for d in tensor.shape.dim]
        kind = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        feeds[value.name] = np.zeros([samples, *sizes[1:]], dtype=kind)
    try:
        result = open_session(model.SerializeToString()).run(None, feeds)[0]
    except Exception:  # whatever stops it, the model stays as it was
        return False
    return bool(np.ndim(result) > 0 and len(result) == samples)
