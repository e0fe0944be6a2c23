"""Stored tensors that say the truth about themselves: sizes, type and as many bytes as they need.

Checked before any library reads one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from quantlib.errors import ModelLoadError
from quantlib.graph.walking import everything
from quantlib.limits import above

if TYPE_CHECKING:
    from collections.abc import Iterator

_BITS: dict[int, int] = {
    TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4,
    TensorProto.INT2: 2, TensorProto.UINT2: 2,
}  # fmt: skip
"""Widths of the types of which several share a byte."""

_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_KNOWN = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}
_REMEDY = "The file is damaged: export or download it again."


def tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor of the model, those of subgraphs and local functions included."""
    graphs, nodes = everything(model)
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse_tensors = [*attribute.sparse_tensors]
            if attribute.HasField("sparse_tensor"):
                sparse_tensors.append(attribute.sparse_tensor)
            for sparse in sparse_tensors:
                yield from (sparse.values, sparse.indices)


def check(model: onnx.ModelProto, label: str) -> None:
    """Raise ModelLoadError for a tensor whose sizes, type and content contradict each other.

    Parameters
    ----------
    model : onnx.ModelProto
        With all tensors inside.
    label : str
        What messages call it.
    """
    total = 0
    for tensor in tensors(model):
        if not tensor.ByteSize():
            continue  # the blank parts of a sparse tensor that is left out
        fault = _fault(tensor)
        if fault:
            raise ModelLoadError(f"{label}: tensor {tensor.name!r} {fault}")
        total += math.prod(tensor.dims)
    if too_much := above("weight_values", total):
        raise ModelLoadError(
            f"{label}: the stored tensors hold {total} numbers, {too_much}; give a smaller model."
        )


def _fault(tensor: TensorProto) -> str:
    """Return what is wrong with a tensor; empty where nothing is."""
    if tensor.data_type not in _KNOWN:
        return (
            f"has the element type number {tensor.data_type}, which ONNX does not define. {_REMEDY}"
        )
    if too_much := above("tensor_axes", len(tensor.dims)):
        return f"has {len(tensor.dims)} axes, {too_much}. {_REMEDY}"
    shape = " x ".join(map(str, tensor.dims)) or "a single number"
    if min(tensor.dims, default=0) < 0:
        return f"has the shape {shape}, and no size is below 0. {_REMEDY}"
    count = math.prod(tensor.dims)
    if too_much := above("tensor_values", count):
        return f"has the shape {shape}: {count} numbers, {too_much}. Give a smaller model."
    return _content(tensor, shape, count)


def _content(tensor: TensorProto, shape: str, count: int) -> str:
    """Return how the content contradicts shape and type."""
    used = [field for field in _FIELDS if len(getattr(tensor, field))]
    if len(used) + bool(tensor.raw_data) > 1:
        return f"holds its values twice, in two forms. {_REMEDY}"
    bits = _BITS.get(tensor.data_type, 0)
    if tensor.raw_data:
        if tensor.data_type == TensorProto.STRING:
            return f"holds text in the form of numbers. {_REMEDY}"
        size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        wanted = -(-count * bits // 8) if bits else count * size
        found = len(tensor.raw_data)
        return (
            "" if found == wanted
            else f"holds {found} bytes, its shape {shape} needs {wanted}. {_REMEDY}"
        )  # fmt: skip
    field = helper.tensor_dtype_to_field(tensor.data_type)
    entries = -(-count * bits // 8) if bits else count
    if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        entries *= 2
    if used and used != [field]:
        return f"holds its values as those of another type. {_REMEDY}"
    found = len(getattr(tensor, field))
    if found == entries:
        return ""
    return f"holds {found} values, its shape {shape} needs {entries}. {_REMEDY}"
