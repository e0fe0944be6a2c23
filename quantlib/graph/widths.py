"""Sizes of a model's inputs that its constants tell, where its shapes do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import helper

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx

_SAME_SHAPE = frozenset(
    ["Identity", "Cast", "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Abs", "Neg", "Dropout",
     "Add", "Sub", "Mul", "Div", "Pow", "BatchNormalization", "QuantizeLinear",
     "DequantizeLinear", "Quant", "IntQuant", "BipolarQuant", "Scaler", "Normalizer"]
)  # fmt: skip


def implied_sizes(model: onnx.ModelProto) -> dict[str, dict[int, int]]:
    """Return sizes of axes that the first constant operand of each input tells, by input name.

    Followed are operators that keep the shape. Told are the features of a product with constant
    weights, the channels of a convolution or normalization, the last axis beside a constant
    vector, and the features of a classifier, regressor or scaler of ONNX-ML.
    """
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = tuple(node.attribute[0].t.dims)
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in model.graph.input
        if value.name not in constants
    }
    followed = {name: name for name in ranks}
    found: dict[str, dict[int, int]] = {}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            source = followed.get(name)
            if source is None:
                continue
            for axis, size in _told(node, place, constants, ranks[source]):
                if 0 <= axis < ranks[source]:
                    found.setdefault(source, {}).setdefault(axis, size)
        kept = node.op_type in _SAME_SHAPE and node.input and node.input[0] in followed
        if kept and node.output:
            followed[node.output[0]] = followed[node.input[0]]
    return found


def _told(
    node: onnx.NodeProto, place: int, constants: Mapping[str, tuple[int, ...]], rank: int
) -> Iterator[tuple[int, int]]:
    """Yield axis and size of one input of a node, where its constants tell them."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    other = constants.get(node.input[1 - place], ()) if len(node.input) > 1 and place < 2 else ()
    op = node.op_type
    if op in ("MatMul", "Gemm") and other:
        mine, theirs = ("transA", "transB") if place == 0 else ("transB", "transA")
        inner = 0 if len(other) == 1 else (-2 if place == 0 else -1)
        if attributes.get(theirs, 0):
            inner = -1 if place == 0 else -2
        last = (place == 0) != bool(attributes.get(mine, 0))
        yield (rank - 1 if last or rank == 1 else rank - 2), other[inner]
    elif op in ("Conv", "ConvTranspose") and place == 0 and len(other) > 2:
        group = int(attributes.get("group", 1))
        yield 1, other[1] * group if op == "Conv" else other[0]
    elif op in ("BatchNormalization", "InstanceNormalization") and place == 0 and other:
        yield 1, other[0]
    elif op in ("LSTM", "GRU", "RNN") and place == 0 and len(other) == 3:
        yield 2, other[2]
    elif op in ("Add", "Sub", "Mul", "Div"):
        for back, size in enumerate(reversed(other), start=1):
            if size > 1:
                yield rank - back, size
    elif node.domain == "ai.onnx.ml" and place == 0:
        features = _features(attributes)
        if features:
            yield rank - 1, features


def _features(attributes: Mapping[str, object]) -> int:
    """Return how many features an operator of ONNX-ML reads; 0 where it does not say."""
    ids = attributes.get("nodes_featureids")
    if isinstance(ids, list) and ids:
        return max(int(i) for i in ids) + 1
    for name in ("scale", "offset"):
        values = attributes.get(name)
        if isinstance(values, list) and len(values) > 1:
            return len(values)
    coefficients, offsets = attributes.get("coefficients"), attributes.get("intercepts")
    if isinstance(coefficients, list) and isinstance(offsets, list) and offsets:
        return len(coefficients) // len(offsets)
    return 0
