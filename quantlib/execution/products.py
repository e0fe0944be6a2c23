"""Which operators multiply and add inside, so that their accumulators would need bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from quantlib.graph.walking import bodies
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
    """Tell whether a float operator sums products: itself, in a body, or in what it stands for.

    An operator of a domain that is not known is taken to.
    """
    if node.body:
        return _any_sums_products([onnx.GraphProto.FromString(node.body)])
    return _sums_products(onnx.NodeProto.FromString(node.proto), node.op_type, node.domain)


def _any_sums_products(graphs: Iterable[onnx.GraphProto]) -> bool:
    return any(_sums_products(n, n.op_type, n.domain) for graph in graphs for n in graph.node)


def _sums_products(proto: onnx.NodeProto, op_type: str, domain: str) -> bool:
    if inner := bodies(proto):
        return _any_sums_products(inner)
    if domain in ("", "ai.onnx"):
        known = ONNX_OPS_TO_QUANTIZED_IMPL.get(op_type)
        return op_type in _PRODUCTS or (known is not None and issubclass(known, WeightedOp))
    if domain == "quantlib":
        return False
    return op_type not in _PLAIN.get(domain, frozenset())
