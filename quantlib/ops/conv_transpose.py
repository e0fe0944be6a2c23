"""Transposed convolution, any number of spatial axes, groups and dilations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.tensor import as_tensor
from quantlib.ops import kernels
from quantlib.ops.base import WeightedOp, bias_of
from quantlib.ops.registry import register_op
from quantlib.ops.windows import Window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.arrays import AnyArray, Codes, FloatArray
    from quantlib.core.tensor import Value
    from quantlib.graph.model import Node, Shape


@register_op("ConvTranspose")
@dataclass(frozen=True, slots=True)
class ConvTranspose(WeightedOp):
    """Transposed convolution (ONNX ConvTranspose-11); Concrete ML does not know it.

    The accumulator is the transposed convolution of ``Xq - zx`` with ``Wq - zw``. Outputs near a
    border, and between strides, sum fewer products than others, so the zero points' share would
    differ from place to place; subtracted first, it is nothing.

    Notes
    -----
    Each input code adds ``x * w`` to a window of the output; windows start `strides` apart and
    `pads` are cut from the result (Dumoulin and Visin 2016, arXiv:1603.07285, chapter 4).
    """

    attributes: Mapping[str, Any]
    group: int = 1

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Read group and window; the kernel's shape is the weights'."""
        return cls(node.attributes, int(node.attributes.get("group", 1)))

    def _window(self, kernel: tuple[int, ...]) -> Window:
        return Window.from_attributes(self.attributes, kernel)

    def frame(
        self, window: Window, spatial: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the output's first place in the full result, and its size, per spatial axis."""
        extra = self.attributes.get("output_padding", (0,) * len(spatial))
        full = [
            (size - 1) * stride + reach + more
            for size, stride, reach, more in zip(
                spatial, window.strides, window.reach, extra, strict=True
            )
        ]
        wanted = self.attributes.get("output_shape")
        if wanted is not None:
            sizes = tuple(int(size) for size in wanted)[-len(spatial) :]
        elif window.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            sizes = tuple(n * s for n, s in zip(spatial, window.strides, strict=True))
        else:
            pads = window.pads_for(spatial)
            begins, ends = pads[: len(spatial)], pads[len(spatial) :]
            return begins, tuple(
                n - begin - end for n, begin, end in zip(full, begins, ends, strict=True)
            )
        cut = [max(0, n - size) for n, size in zip(full, sizes, strict=True)]
        upper = window.auto_pad == "SAME_UPPER"
        return tuple(n // 2 if upper else n - n // 2 for n in cut), sizes

    def _transposed(self, x: AnyArray, w: AnyArray, bound: int | None) -> AnyArray:
        """Return the output's frame of the full result; exact below `bound`, as is for None."""
        window = self._window(w.shape[2:])
        start, sizes = self.frame(window, x.shape[2:])
        keywords = {
            "strides": window.strides,
            "dilations": window.dilations,
            "group": self.group,
        }
        if bound is None:
            full = kernels.convolve_transposed_numpy(x, w, **keywords)  # type: ignore[arg-type]
        else:
            full = kernels.convolve_transposed(x, w, **keywords, bound=bound)  # type: ignore[arg-type]
        ends = [s + size - n for s, size, n in zip(start, sizes, full.shape[2:], strict=True)]
        widened = kernels.pad_spatial(full, (*(0,) * len(ends), *(max(0, e) for e in ends)), 0)
        cuts = [slice(s, s + size) for s, size in zip(start, sizes, strict=True)]
        return widened[(slice(None), slice(None), *cuts)]

    def fan_in(self, weight_shape: tuple[int, ...]) -> int:
        """Return how many products one accumulator sums, at most: strides thin the kernel out."""
        window = self._window(weight_shape[2:])
        taps = [
            -(-k // (stride // math.gcd(stride, dilation)))
            for k, stride, dilation in zip(
                window.kernel, window.strides, window.dilations, strict=True
            )
        ]
        return weight_shape[0] // self.group * math.prod(taps)

    def channel_axis(self, weight_shape: tuple[int, ...]) -> int | None:
        """Return the axis of the weights' output channels; all groups share its grids."""
        return 1

    def enters_centred(self, position: int) -> bool:
        """Codes are spread with nothing between them: both factors are centred."""
        return True

    def macs(
        self, weight_shape: tuple[int, ...], input_shape: Shape, output_shape: Shape
    ) -> int | None:
        """Return the multiply-accumulates per sample: each input meets all weights of its channel.

        What padding cuts off again is counted.
        """
        sizes = [size for size in input_shape[1:] if isinstance(size, int)]
        known = bool(input_shape) and len(sizes) == len(input_shape) - 1
        return math.prod(sizes) * math.prod(weight_shape[1:]) if known else None

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Compute in float64."""
        x, w, *rest = inputs
        assert x is not None and w is not None
        result = self._transposed(x.astype(np.float64), w.astype(np.float64), None)
        bias = rest[0] if rest else None
        return (result if bias is None else result + _per_channel(bias, result.ndim),)

    def accumulate(
        self, *operands: Value | None, output: UniformQuantizationParameters | None
    ) -> Codes:
        x, w = map(as_tensor, operands[:2])
        magnitude = x.magnitude + abs(int(np.asarray(x.quantizer.zero_point)))

        def largest() -> int:
            weights = w.centred()
            grouped = weights.reshape(self.group, -1, *weights.shape[1:])
            return kernels.absolute_sum(grouped, axis=(1, *range(3, grouped.ndim)))

        bound = kernels.product_bound(magnitude, w.derived("transposed sum", largest))
        return self._transposed(x.centred(), w.centred(), bound)

    def dequantize(
        self,
        accumulator: Codes,
        *operands: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        scale, bias = self._scale_and_bias(*operands)
        values = kernels.dequantize_affine(accumulator, constant=0.0, scale=scale)
        return values if bias is None else values + bias

    def output_params(self, *operands: Value | None) -> UniformQuantizationParameters | None:
        """Return the accumulator's own grid; its zero point holds the bias."""
        scale, bias = self._scale_and_bias(*operands)
        zero_point = 0 if bias is None else bias.astype(np.float64) / -scale
        return UniformQuantizationParameters(scale, zero_point, 0)

    def _scale_and_bias(
        self, *operands: Value | None
    ) -> tuple[np.float64 | FloatArray, FloatArray | None]:
        """Return the accumulator's scale, one or one per output channel, and the real bias."""
        x, w = map(as_tensor, operands[:2])
        bias = bias_of(operands)
        scale = x.quantizer.scale * w.quantizer.scale
        if isinstance(scale, np.ndarray):
            scale = _per_channel(np.tile(scale.reshape(-1), self.group), len(w.shape))
        return scale, None if bias is None else _per_channel(bias.values, len(w.shape))


def _per_channel(values: AnyArray, ndim: int) -> AnyArray:
    """Shape one value per channel for broadcasting over (N, C, *spatial)."""
    return np.reshape(values, (1, -1, *(1,) * (ndim - 2)))
