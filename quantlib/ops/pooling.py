"""Average and maximum over windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from quantlib.arrays import carrier
from quantlib.core.tensor import as_tensor
from quantlib.ops import kernels
from quantlib.ops.base import MixingOp, SelectingOp
from quantlib.ops.inside import InnerLookUps
from quantlib.ops.registry import register_op
from quantlib.ops.windows import Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.arrays import AnyArray, Codes, FloatArray
    from quantlib.core.params import UniformQuantizationParameters
    from quantlib.core.tensor import Tensor, Value
    from quantlib.graph.model import Node
    from quantlib.ops.inside import Place


@register_op("AveragePool")
@dataclass(frozen=True, slots=True)
class AveragePool(MixingOp):
    """Mean over windows (ONNX AveragePool-19); the accumulator is the sum of the codes."""

    window: Window
    count_include_pad: bool = False
    traces_rounded = True

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Read the window and whether padding counts."""
        window = Window.from_attributes(node.attributes, tuple(node.attributes["kernel_shape"]))
        return cls(window, bool(node.attributes.get("count_include_pad", 0)))

    def _sums(self, x: AnyArray, pad_value: float) -> AnyArray:
        spatial = x.shape[2:]
        padded = kernels.pad_spatial(
            x, self.window.pads_for(spatial), pad_value if self.count_include_pad else 0
        )
        overhang = self.window.overhang_for(spatial)
        padded = kernels.pad_spatial(padded, (*(0 for _ in overhang), *overhang), 0)
        return kernels.sum_pool(
            padded,
            kernel=self.window.kernel,
            strides=self.window.strides,
            dilations=self.window.dilations,
        )

    def _counts(self, spatial: tuple[int, ...]) -> FloatArray | float:
        """Return how many values each window averages."""
        padded = any(self.window.pads_for(spatial)) and not self.count_include_pad
        if not padded and not any(self.window.overhang_for(spatial)):
            return float(np.prod(self.window.kernel))
        return self._sums(np.ones((1, 1, *spatial)), 1.0)

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Compute in float64; data that is padded is rounded to float32 first, as there."""
        (x,) = inputs
        assert x is not None
        spatial = x.shape[2:]
        if any(self.window.pads_for(spatial)):
            x = x.astype(np.float32)
        return (self._sums(x.astype(np.float64), 0.0) / self._counts(spatial),)

    def accumulate(
        self, *operands: Value | None, output: UniformQuantizationParameters | None
    ) -> Codes:
        x = as_tensor(operands[0])
        zero_point = int(np.asarray(x.quantizer.zero_point))
        bound = max(x.magnitude, abs(zero_point)) * int(np.prod(self.window.kernel))
        return self._sums(x.codes.astype(carrier(bound), copy=False), zero_point)

    def held_constants(self, *operands: Value | None, place: Place) -> list[list[int]]:
        """Return the kernel of ones and its padding."""
        return [[0, 1]]

    def dequantize(
        self,
        accumulator: Codes,
        *operands: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        x = as_tensor(operands[0])
        values = accumulator.astype(np.float64)
        values *= 1.0 / self._counts(x.shape[2:])
        values -= x.quantizer.zero_point
        values *= x.quantizer.scale
        return values


@register_op("MaxPool")
@dataclass(frozen=True, slots=True)
class MaxPool(SelectingOp):
    """Largest code of each window (ONNX MaxPool-12).

    ONNX pads with minus infinity; Concrete ML with 0.0, which wins over negative values.

    Parameters
    ----------
    window : Window
        Kernel, strides, pads and dilations.
    pads_zero : bool
        Whether padding is 0.0; else it never wins.
    """

    window: Window
    pads_zero: bool = True
    named_in_circuit = False

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Read the window."""
        return cls(Window.from_attributes(node.attributes, tuple(node.attributes["kernel_shape"])))

    def _max(self, x: AnyArray, pad_value: float, beyond: float) -> AnyArray:
        spatial = x.shape[2:]
        overhang = self.window.overhang_for(spatial)
        padded = kernels.pad_spatial(x, self.window.pads_for(spatial), pad_value)
        padded = kernels.pad_spatial(padded, (*(0 for _ in overhang), *overhang), beyond)
        return kernels.max_pool(
            padded,
            kernel=self.window.kernel,
            strides=self.window.strides,
            dilations=self.window.dilations,
        )

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Compute on real values; Concrete ML pads 0.0, and that in float32."""
        (x,) = inputs
        assert x is not None
        if not self.pads_zero:
            return (self._max(x, -np.inf, -np.inf),)
        if any(self.window.pads_for(x.shape[2:])):
            x = x.astype(np.float32)
        return (self._max(x, 0.0, -np.inf),)

    def accumulate(
        self, *operands: Value | None, output: UniformQuantizationParameters | None
    ) -> Codes:
        x = as_tensor(operands[0])
        lowest = float(x.codes.min(initial=0))
        zero = int(np.asarray(x.quantizer.zero_point)) if self.pads_zero else lowest
        return self._max(x.codes, zero, lowest)

    def inner_look_ups(
        self, variables: Sequence[Tensor], *, sizes: Sequence[int], outputs: int, products: int
    ) -> list[InnerLookUps]:
        """Return the look-ups of differences: one for each value of a window."""
        count = outputs * int(np.prod(self.window.kernel))
        return [InnerLookUps("maximum", count, variables[0].n_bits + 1)]

    def as_onnx(self) -> MaxPool:
        """Return the pool whose padding never wins."""
        return MaxPool(self.window, pads_zero=False)
