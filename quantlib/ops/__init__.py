"""Operators: how each is treated, and what the mixing ones do with integers.

Importing the package fills the registry.
"""

from quantlib.ops import (
    arithmetic,
    carried,
    conv,
    conv_transpose,
    linear,
    movers,
    pooling,
    raw,
    reduction,
    unfold,
    univariate,
)
from quantlib.ops.registry import ONNX_OPS_TO_QUANTIZED_IMPL

__all__ = [
    "ONNX_OPS_TO_QUANTIZED_IMPL",
    "arithmetic",
    "carried",
    "conv",
    "conv_transpose",
    "linear",
    "movers",
    "pooling",
    "raw",
    "reduction",
    "unfold",
    "univariate",
]
