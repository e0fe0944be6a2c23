"""Operators that run in float: what they compute is the node's function.

On functions of one integer tensor they become a table look-up under encryption.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
from onnx import TensorProto

from quantlib.graph.node_functions import NodeFunction
from quantlib.ops.base import FloatOp
from quantlib.ops.registry import register_op

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Node


@register_op(
    "Abs", "Celu", "Clip", "Elu", "Equal", "Erf", "Exp", "Floor", "Greater",
    "GreaterOrEqual", "HardSigmoid", "HardSwish", "LeakyRelu", "Less", "LessOrEqual",
    "Log", "Max", "Min", "Neg", "Not", "Or", "PRelu", "Pow", "Relu", "Round", "Selu", "Sigmoid",
    "Sign", "Softplus", "Tanh", "Where",
)  # fmt: skip
class Univariate(FloatOp):
    """A function of one value, or of one tensor and constants."""


@register_op("Cast")
class Cast(FloatOp):
    """Another type for the same values.

    Real numbers and truth values that become real are float64, whether the model says float or
    double: under encryption there is no rounding to float32 inside a table.
    """

    def __init__(self, function: NodeFunction, *, to_real: bool) -> None:
        super().__init__(function)
        self.to_real = to_real

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Read the type."""
        to_real = node.attributes.get("to") in (TensorProto.FLOAT, TensorProto.DOUBLE)
        return cls(NodeFunction(node, opsets), to_real=to_real)

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Widen real numbers and truth values; leave whole numbers and other types to ONNX."""
        x = inputs[0]
        assert x is not None
        if self.to_real and x.dtype.kind in "fb":
            return (x.astype(np.float64),)
        return super().float_results(*inputs)


@register_op("Identity")
class Identity(FloatOp):
    """The same values on the same grid."""

    keeps_grid = True


@register_op("BatchNormalization")
class BatchNormalization(FloatOp):
    """Normalization with constant statistics; its range ignores 0.1 % of values on each side.

    Computed here and not by the onnx package: the order of the four operations decides the last
    bit, the last bit decides ties, and Concrete ML divides before it multiplies.
    """

    def __init__(
        self, function: NodeFunction, *, epsilon: float, clips_outliers: bool = True
    ) -> None:
        super().__init__(function)
        self.function: NodeFunction = function
        self.epsilon = epsilon
        self.clips_outliers = clips_outliers

    def as_onnx(self) -> BatchNormalization:
        """Return the normalization whose range is all values."""
        return BatchNormalization(self.function, epsilon=self.epsilon, clips_outliers=False)

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Read epsilon (default 1e-5)."""
        return cls(NodeFunction(node, opsets), epsilon=node.attributes.get("epsilon", 1e-5))

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Compute ``(x - mean) / sqrt(var + epsilon) * scale + bias`` per channel (axis 1)."""
        x, *constants = inputs
        assert x is not None
        shape = (1, -1, *(1,) * (x.ndim - 2))
        scale, bias, mean, variance = (np.reshape(c, shape) for c in constants if c is not None)
        spread = np.sqrt(variance + variance.dtype.type(self.epsilon))
        result = np.asarray(x - mean)
        result /= spread
        result *= scale
        result += bias
        return (result,)
