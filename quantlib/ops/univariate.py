"""Operators that run in float: what they compute is not ours.

On functions of one integer tensor they become a table look-up under encryption.
"""

from __future__ import annotations

from quantlib.ops.base import FloatOp
from quantlib.ops.registry import register_op


@register_op(
    "Abs", "Cast", "Celu", "Clip", "Elu", "Equal", "Erf", "Exp", "Floor", "Greater",
    "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less", "LessOrEqual",
    "Log", "Max", "Min", "Neg", "Not", "Or", "PRelu", "Pow", "Relu", "Round", "Selu", "Sigmoid",
    "Sign", "Softplus", "Tanh", "Where",
)  # fmt: skip
class Univariate(FloatOp):
    """A function of one value, or of one tensor and constants."""


@register_op("BatchNormalization")
class BatchNormalization(FloatOp):
    """Normalization with constant statistics; its range ignores 0.1 % of values on each side."""

    clips_outliers = True
