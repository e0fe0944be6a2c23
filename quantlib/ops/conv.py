"""Convolution, any number of spatial axes, groups and dilations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from quantlib.arrays import exact_integers
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.tensor import as_tensor
from quantlib.ops import kernels
from quantlib.ops.base import WeightedOp, bias_of
from quantlib.ops.inside import (
    has_zero_point,
    held_by_product,
    split_at_zero_points,
    weight_zero_points,
    zero_point,
)
from quantlib.ops.registry import register_op
from quantlib.ops.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from quantlib.arrays import AnyArray, Codes, FloatArray
    from quantlib.core.tensor import Tensor, Value
    from quantlib.graph.model import Node
    from quantlib.ops.inside import Intermediate, Place


@register_op("Conv")
@dataclass(frozen=True, slots=True)
class Conv(WeightedOp):
    """Convolution (ONNX Conv-11).

    The accumulator is the convolution of the input codes, padded with their zero point, with
    ``Wq - zw``.
    """

    attributes: Mapping[str, Any]
    group: int = 1

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Read group and window; the kernel's shape is the weights'."""
        return cls(node.attributes, int(node.attributes.get("group", 1)))

    def _window(self, weights: AnyArray) -> Window:
        return Window.from_attributes(self.attributes, weights.shape[2:])

    def fan_in(self, weight_shape: tuple[int, ...]) -> int:
        """Return how many products one accumulator sums."""
        return int(np.prod(weight_shape[1:]))

    def channel_axis(self, weight_shape: tuple[int, ...]) -> int | None:
        """Return the axis of the weights' output channels."""
        return 0

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Compute in float64; data that is padded is rounded to float32 first, as there."""
        x, w, *rest = inputs
        assert x is not None and w is not None
        window = self._window(w)
        pads = window.pads_for(x.shape[2:])
        if any(pads):
            x = kernels.pad_spatial(x.astype(np.float32), pads, 0.0)
        result = kernels.convolve_numpy(
            x,  # widened where it is multiplied
            w.astype(np.float64),
            strides=window.strides,
            dilations=window.dilations,
            group=self.group,
        )
        bias = rest[0] if rest else None
        if bias is not None:
            result += _per_channel(bias, result.ndim)
        return (result,)

    def accumulate(
        self, *operands: Value | None, output: UniformQuantizationParameters | None
    ) -> Codes:
        x, w = map(as_tensor, operands[:2])
        window = self._window(w.codes)
        axes = tuple(range(1, len(w.shape)))
        largest = w.derived("sum", lambda: kernels.absolute_sum(w.centred(), axis=axes))
        zero_point = int(np.asarray(x.quantizer.zero_point))
        magnitude = max(x.magnitude, abs(zero_point))
        codes, pads = x.codes, window.pads_for(x.shape[2:])
        if zero_point or min(pads, default=0) < 0:  # the kernel itself pads with zeros alone
            codes, pads = kernels.pad_spatial(codes, pads, zero_point), ()
        return kernels.convolve(
            codes,
            w.centred(),
            strides=window.strides,
            dilations=window.dilations,
            group=self.group,
            bound=kernels.product_bound(magnitude, largest),
            pads=pads,
        )

    @staticmethod
    def _constant(x: Tensor, w: Tensor) -> FloatArray:
        """Return ``K*zx*zw - zx * sum(Wq)`` per output channel, what the accumulator lacks."""
        axes = tuple(range(1, w.codes.ndim))
        zx = np.float64(x.quantizer.zero_point)
        zw = np.asarray(w.quantizer.zero_point, dtype=np.float64).reshape(-1)
        fan_in = int(np.prod(w.codes.shape[1:]))
        sums = w.derived("sums", lambda: w.codes.sum(axis=axes, dtype=np.float64))
        return _per_channel(fan_in * zx * zw - zx * sums, w.codes.ndim)

    def dequantize(
        self,
        accumulator: Codes,
        *operands: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        x, w, bias = _with_bias(operands)
        values = kernels.dequantize_affine(
            accumulator,
            constant=self._constant(x, w),
            scale=_scale(x, w),
        )
        if bias is not None:
            values += _per_channel(bias.values, values.ndim)
        return values

    def intermediates(
        self, accumulator: AnyArray, *operands: Value | None, place: Place
    ) -> Iterator[Intermediate]:
        """Yield the terms that the weights' zero points make of the product."""
        x, w = map(as_tensor, operands[:2])
        if has_zero_point(w):
            sums = self._input_sums(x, w)
            zero_points = weight_zero_points(w, 0).reshape(-1, *(1,) * (sums.ndim - 2))
            yield from split_at_zero_points(accumulator, sums, zero_points)

    def _input_sums(self, x: Tensor, w: Tensor) -> AnyArray:
        """Return the sum of the codes that meet each accumulator, int64."""
        window = self._window(w.codes)
        fill = zero_point(x)
        sums: Codes = kernels.convolve(
            kernels.pad_spatial(x.codes, window.pads_for(x.shape[2:]), fill),
            np.ones((self.group, *w.shape[1:]), dtype=np.float32),
            strides=window.strides,
            dilations=window.dilations,
            group=self.group,
            bound=kernels.product_bound(max(x.magnitude, abs(fill)), self.fan_in(w.shape)),
        )
        return np.repeat(exact_integers(sums), len(w.codes) // self.group, axis=1)

    def held_constants(self, *operands: Value | None, place: Place) -> Iterator[int | list[int]]:
        """Yield the weights' extremes, their zero points and the ones that sum the inputs."""
        x, w = map(as_tensor, operands[:2])
        return held_by_product(x, w, place.constants, counts_one=True)

    def output_params(self, *operands: Value | None) -> UniformQuantizationParameters | None:
        """Return the accumulator's own grid; its zero point holds the bias."""
        x, w, bias = _with_bias(operands)
        scale = _scale(x, w)
        zero_point = -self._constant(x, w)
        if bias is not None:
            # the reference divides in the bias' dtype, float32
            shaped = _per_channel(bias.values, w.codes.ndim)
            zero_point = zero_point + shaped / np.asarray(-scale, dtype=shaped.dtype)
        return UniformQuantizationParameters(scale, np.asarray(zero_point, dtype=np.float64), 0)


def _scale(x: Tensor, w: Tensor) -> np.float64 | FloatArray:
    """Return the accumulator's scale: one, or one per output channel."""
    scale = x.quantizer.scale * w.quantizer.scale
    if isinstance(scale, np.ndarray):
        return np.asarray(_per_channel(scale, w.codes.ndim), dtype=np.float64)
    return np.float64(scale)


def _per_channel(values: AnyArray, ndim: int) -> AnyArray:
    """Shape one value per channel for broadcasting over (N, C, *spatial)."""
    return np.reshape(values, (1, -1, *(1,) * (ndim - 2)))


def _with_bias(operands: tuple[Value | None, ...]) -> tuple[Tensor, Tensor, Tensor | None]:
    x, w = map(as_tensor, operands[:2])
    return x, w, bias_of(operands)
