"""Quantizers that a model brings with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quantlib.core.arguments import as_float
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.rounding import Rounding
from quantlib.graph.carried import DYNAMIC, carried_quantizer, quantize_values
from quantlib.graph.node_functions import RuntimeFunction
from quantlib.ops.base import FloatOp
from quantlib.ops.registry import register_op

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.core.tensor import Value
    from quantlib.graph.model import Node


@register_op(DYNAMIC)
class DynamicQuantizer(FloatOp):
    """Rounds to eight unsigned bits over the range of the tensor itself (DynamicQuantizeLinear-11).

    The grid is another one for every call; integer operators that read it take it as it is.
    """

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Take no attributes."""
        return cls(RuntimeFunction(node, opsets))

    @staticmethod
    def grid_of(values: AnyArray) -> UniformQuantizer:
        """Return the grid of a tensor: its range with 0, the zero point rounded onto it.

        In float32, as https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html says.
        """
        low = np.float32(min(0.0, values.min(initial=0)))
        high = np.float32(max(0.0, values.max(initial=0)))
        scale = np.float32((high - low) / np.float32(255)) or np.float32(1.0)
        point = int(np.clip(np.rint(-low / scale), 0, 255))
        options = QuantizationOptions(8)
        params = UniformQuantizationParameters(np.float64(scale), point, options.offset)
        return UniformQuantizer(options, None, params, rounding=Rounding.NEAREST_FIRST)

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Round real values to their own grid."""
        (x,) = inputs
        assert x is not None
        ((reals, grid),) = self.roundings(x, output=None)
        return (grid.dequant(grid.quant(reals)).astype(x.dtype),)

    def roundings(
        self,
        *inputs: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> tuple[tuple[AnyArray, UniformQuantizer], ...]:
        """Return the values in float32 and their own grid."""
        (x,) = inputs
        assert isinstance(x, np.ndarray)
        return ((as_float(x).astype(np.float32), self.grid_of(x)),)


@register_op(
    "Quant",
    "IntQuant",
    "BipolarQuant",
    "Trunc",
    "QuantizeDequantize",
    "DequantizeLinear",
    "onnx.brevitas.Quant",
)
class CarriedQuantizer(FloatOp):
    """Rounds to a grid of its own; integer operators that read it take that grid as it is."""

    def __init__(self, node: Node, function: RuntimeFunction) -> None:
        self.function = function
        self.node = node

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Keep the node; its parameters are inputs."""
        return cls(node, RuntimeFunction(node, opsets))

    def quantizer(self, parameters: Sequence[Any]) -> UniformQuantizer | None:
        """Return the grid, given the inputs after the first; None if it has no integer grid."""
        arrays = [p if isinstance(p, np.ndarray) else None for p in parameters]
        return carried_quantizer(self.node, arrays)

    @property
    def takes_inputs(self) -> bool:
        """Whether rounding to the grid is all it does, so that a model input may lie on it."""
        return self.node.op_type != "Trunc"

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Round real values to the grid; DequantizeLinear turns codes into values."""
        x, *parameters = inputs
        assert x is not None
        grid = self.quantizer(parameters)
        if grid is None:
            return self.function(*inputs)
        if x.dtype.kind != "f":
            return (grid.dequant(x.astype(np.int64)),)
        return (quantize_values(self.node, grid, x, [p for p in parameters if p is not None]),)

    def roundings(
        self,
        *inputs: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> tuple[tuple[AnyArray, UniformQuantizer], ...]:
        """Return the values that are rounded and the grid, where it has one and reads reals.

        Trunc, which shifts codes, rounds no reals.
        """
        x, *parameters = inputs
        grid = self.quantizer(parameters)
        if grid is None or self.node.op_type == "Trunc":
            return ()
        if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
            return ()
        return ((x, grid),)
