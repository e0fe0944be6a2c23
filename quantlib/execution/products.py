"""Which operators multiply and add inside, so that their accumulators would need bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from quantlib.ops.base import WeightedOp
from quantlib.ops.registry import ONNX_OPS_TO_QUANTIZED_IMPL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quantlib.graph.model import Node

_PRODUCTS = frozenset(
    ["Attention", "CausalConvWithState", "ConvInteger", "DeformConv", "DFT", "Einsum",
     "FlexAttention", "GRU", "LSTM", "LinearAttention", "MatMulInteger",
     "MelWeightMatrix", "QLinearConv", "QLinearMatMul", "RNN", "STFT"]
)  # fmt: skip
"""Of ONNX's own domain, beside those that are quantized."""

_PLAIN = {
    "com.microsoft": frozenset(
        ["BiasAdd", "BiasGelu", "BiasSoftmax", "DequantizeLinear", "FastGelu", "GatherND", "Gelu",
         "GroupNorm", "Inverse", "NhwcMaxPool", "Pad", "QuantizeLinear", "QLinearAdd",
         "QLinearAveragePool", "QLinearConcat", "QLinearGlobalAveragePool", "QLinearLeakyRelu",
         "QLinearMul", "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere",
         "QuickGelu", "SimplifiedLayerNormalization", "SkipGroupNorm", "SkipLayerNormalization",
         "SkipSimplifiedLayerNormalization", "Tokenizer", "Trilu", "Unique"]
    ),
    "ai.onnx.ml": frozenset(
        ["ArrayFeatureExtractor", "Binarizer", "CastMap", "CategoryMapper", "DictVectorizer",
         "FeatureVectorizer", "Imputer", "LabelEncoder", "Normalizer", "OneHotEncoder", "Scaler",
         "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "ZipMap"]
    ),
}  # fmt: skip
"""Operators of other domains that compare, select, add or scale, and sum no products."""


def has_products(node: Node) -> bool:
    """Tell whether a float operator sums products, itself or in the body of an If, Loop or Scan.

    An operator of a domain that is not known is taken to.
    """
    return _sums_products(onnx.NodeProto.FromString(node.proto), node.op_type, node.domain)


def _sums_products(proto: onnx.NodeProto, op_type: str, domain: str) -> bool:
    bodies = [a.g for a in proto.attribute if a.HasField("g")]
    bodies += [graph for a in proto.attribute for graph in a.graphs]
    if bodies:
        return any(_sums_products(inner, inner.op_type, inner.domain) for inner in _nodes(bodies))
    if domain in ("", "ai.onnx"):
        known = ONNX_OPS_TO_QUANTIZED_IMPL.get(op_type)
        return op_type in _PRODUCTS or (known is not None and issubclass(known, WeightedOp))
    if domain == "quantlib":
        return False
    return op_type not in _PLAIN.get(domain, frozenset())


def _nodes(bodies: Iterable[onnx.GraphProto]) -> Iterable[onnx.NodeProto]:
    for body in bodies:
        yield from body.node
