"""Minus infinity in attention masks: a number that has a range, and that Softmax takes as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

from quantlib.graph.walking import read_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

LOWEST = -1e30
"""What stands for minus infinity: its exponential is 0, and a few of them can be added."""

_WEIGHING = frozenset(["Softmax", "LogSoftmax"])
_CARRYING = frozenset(
    ["Add", "Cast", "Concat", "Expand", "Gather", "Identity", "Reshape", "Slice", "Squeeze",
     "Transpose", "Tile", "Trilu", "Unsqueeze", "Where"]
)  # fmt: skip


def finite_masks(model: onnx.ModelProto) -> list[str]:
    """Replace minus infinity in constants that reach nothing but a Softmax, in place.

    Between constant and Softmax may lie what adds, chooses or moves. Weights come out as
    before, bit by bit, unless a whole row is masked: there is no number, now all weights are
    equal.

    Returns
    -------
    list of str
        One note where anything was replaced.
    """
    found = [(name, tensor) for name, tensor in _constants(model) if _has_minus_infinity(tensor)]
    if not found:
        return []
    only_weighed = _only_weighed(model)
    named = []
    for name, tensor in found:
        if name in only_weighed:
            array = numpy_helper.to_array(tensor)
            finite = np.where(np.isneginf(array), np.array(LOWEST, dtype=array.dtype), array)
            tensor.CopyFrom(numpy_helper.from_array(finite, tensor.name))
            named.append(repr(name))
    if not named:
        return []
    return [
        f"minus infinity in {', '.join(named[:3])}, which reaches only Softmax, is read as "
        f"{LOWEST:g}: the weight is 0 either way."
    ]


def _constants(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Yield the model's own tensors by the name they are read by."""
    for tensor in model.graph.initializer:
        yield tensor.name, tensor
    for node in model.graph.node:
        if node.op_type in {"Constant", "ConstantOfShape"} and not node.domain:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield node.output[0], attribute.t


def _has_minus_infinity(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type not in (tensor.FLOAT, tensor.DOUBLE):
        return False
    try:
        return bool(np.isneginf(numpy_helper.to_array(tensor)).any())
    except (ValueError, TypeError):  # refused by name where all tensors are read
        return False


def _only_weighed(model: onnx.ModelProto) -> set[str]:
    """Return the tensors from which every way leads into a Softmax."""
    elsewhere = {value.name for value in model.graph.output}
    read: set[str] = set()
    for node in reversed(model.graph.node):
        names = read_by(node)
        read.update(names)
        ends = node.op_type in _WEIGHING and not node.domain
        carries = node.op_type in _CARRYING and not node.domain
        if not (ends or (carries and node.output[0] not in elsewhere)):
            elsewhere.update(names)
    return read - elsewhere
