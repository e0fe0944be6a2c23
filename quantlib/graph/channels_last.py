"""QONNX's operators on channels-last tensors: ONNX's own between two transpositions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import helper

from quantlib.errors import UnsupportedOpError
from quantlib.graph.shapes import infer_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.graph.model import Shape

DOMAIN = "qonnx.custom_op.channels_last"

_WRAPPED = frozenset(["Conv", "MaxPool", "BatchNormalization"])


def to_channels_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace channels-last operators; the model itself when it has none.

    Raises
    ------
    UnsupportedOpError
        An operator that the domain does not define, or one whose rank cannot be found.

    Notes
    -----
    https://github.com/fastmachinelearning/qonnx/tree/main/src/qonnx/custom_op/channels_last:
    the first input and the output have channels last, and so have the weights of a Conv.
    """
    if not any(node.domain == DOMAIN for node in model.graph.node):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:], result.opset_import[:]
    result.opset_import.extend(e for e in model.opset_import if e.domain != DOMAIN)
    shapes: Mapping[str, Shape] | None = None
    for node in model.graph.node:
        if node.domain != DOMAIN:
            result.graph.node.append(node)
            continue
        if node.op_type not in _WRAPPED:
            raise _refused(node, f"{DOMAIN} does not define it; export the model again")
        kernel = next((a.ints for a in node.attribute if a.name == "kernel_shape"), ())
        rank = len(kernel) + 2 if kernel else 0
        if not rank:
            shapes = infer_shapes(result)
            rank = len(shapes.get(node.input[0], ()))
        if not rank:
            raise _refused(
                node, "the number of its input's axes is not known; let QONNX infer shapes first"
            )
        result.graph.node.extend(_wrapped(node, rank))
    return result


def _wrapped(node: onnx.NodeProto, rank: int) -> list[onnx.NodeProto]:
    first = [0, rank - 1, *range(1, rank - 1)]
    last = [0, *range(2, rank), 1]
    inputs = list(node.input)
    nodes = []
    for i in range(2 if node.op_type == "Conv" else 1):
        turned = f"{node.name}/first{i}"
        nodes.append(helper.make_node("Transpose", [inputs[i]], [turned], turned, perm=first))
        inputs[i] = turned
    inner = onnx.NodeProto()
    inner.CopyFrom(node)
    del inner.input[:], inner.output[:]
    inner.domain = ""
    inner.input.extend(inputs)
    inner.output.append(f"{node.name}/result")
    turned_back = helper.make_node(
        "Transpose", [inner.output[0]], [node.output[0]], f"{node.name}/last", perm=last
    )
    return [*nodes, inner, turned_back]


def _refused(node: onnx.NodeProto, fault: str) -> UnsupportedOpError:
    return UnsupportedOpError(
        f"node {node.name!r}: {node.op_type} on channels-last tensors: {fault}, or convert the "
        "model to channels first with QONNX.",
        op_type=node.op_type,
        node_name=node.name,
    )
