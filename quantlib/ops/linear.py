"""Matrix products: Gemm and MatMul."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quantlib.core.params import UniformQuantizationParameters
from quantlib.ops import kernels
from quantlib.ops.base import WeightedOp
from quantlib.ops.registry import register_op

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from quantlib.arrays import AnyArray, Codes, FloatArray
    from quantlib.core.tensor import Tensor
    from quantlib.graph.model import Node


@register_op("Gemm", "MatMul")
@dataclass(frozen=True, slots=True)
class Gemm(WeightedOp):
    """``alpha * A' @ B' + beta * C`` (ONNX Gemm-13); MatMul is the case without C.

    The accumulator is ``Aq @ (Bq - zb)``; under encryption it is computed as ``Aq @ Bq -
    zb * sum(Aq)``, the second term only if the weights' zero point is not 0. With a rounding
    threshold, a product of two encrypted matrices is made of rounded squares, see
    `kernels.product_of_squares`.

    Parameters
    ----------
    alpha, beta, transA, transB
        ONNX attributes.
    factor_lsbs : tuple of int or None
        Low bits that rounding takes from sums and from differences of two encrypted factors;
        None where one factor is constant, or nothing is rounded.
    """

    alpha: float = 1.0
    beta: float = 1.0
    transA: int = 0
    transB: int = 0
    factor_lsbs: tuple[int, int] | None = None
    constant_inputs: ClassVar[tuple[int, ...]] = (1, 2)
    takes_variables = True
    fewest_axes = 2
    output_channel_axis = -1

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Read the four attributes."""
        del opsets
        names = {"alpha", "beta", "transA", "transB"}
        return cls(**{k: v for k, v in node.attributes.items() if k in names})

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Compute in the inputs' precision: float32 inputs give float32 statistics."""
        a, b, *rest = inputs
        assert a is not None and b is not None
        product = np.matmul(a.T if self.transA else a, b.T if self.transB else b)
        if self.alpha != 1.0:
            product = product * product.dtype.type(self.alpha)
        bias = rest[0] if rest else None
        if bias is None or self.beta == 0.0:
            return (product,)
        return (product + (bias if self.beta == 1.0 else bias * bias.dtype.type(self.beta)),)

    def fan_in(self, weight_shape: tuple[int, ...]) -> int:
        """Return how many products one accumulator sums."""
        return weight_shape[-1 if self.transB else -2]

    def _operands(self, *operands: Tensor | None) -> tuple[Tensor, Tensor, Codes, Codes]:
        a, b = operands[0], operands[1]
        assert a is not None and b is not None
        return a, b, a.codes.T if self.transA else a.codes, b.codes.T if self.transB else b.codes

    def accumulate(
        self, *operands: Tensor | None, output: UniformQuantizationParameters | None
    ) -> Codes:
        del output
        a, b, left, codes = self._operands(*operands)
        if self.factor_lsbs is not None:
            return self._from_squares(left, codes, int(np.asarray(b.quantizer.zero_point)))
        right = b.centred().T if self.transB else b.centred()
        largest = b.derived("sum", lambda: kernels.absolute_sum(right, axis=-2))
        return kernels.matmul(left, right, bound=kernels.product_bound(a.magnitude, largest))

    def _from_squares(self, left: Codes, right: Codes, zero_point: int) -> Codes:
        assert self.factor_lsbs is not None
        sums, differences = self.factor_lsbs
        product = kernels.product_of_squares(
            left, right, sum_lsbs=sums, difference_lsbs=differences
        )
        return np.asarray(product - zero_point * left.sum(axis=-1, keepdims=True, dtype=np.int64))

    def with_rounded_operands(
        self, *operands: Tensor | None, constants: Collection[int], threshold_bits: int
    ) -> Gemm:
        """Learn how many bits sums and differences of two encrypted factors lose."""
        if constants:
            return self
        _, _, left, right = self._operands(*operands)
        return replace(self, factor_lsbs=kernels.excess_bits_of_sums(left, right, threshold_bits))

    def rounding_offset(self, *operands: Tensor | None) -> int | Codes:
        """Return the constant terms: of two encrypted factors the whole product is rounded."""
        return 0 if self.factor_lsbs is None else self._constant(*operands)

    def _constant(self, *operands: Tensor | None) -> FloatArray:
        """Return ``K*za*zb - za * sum(Bq)``, what the accumulator lacks."""
        a, b, _, right = self._operands(*operands)
        za = np.float64(a.quantizer.zero_point)
        zb = _per_column(b.quantizer.zero_point)
        sums = b.derived("sums", lambda: right.sum(axis=-2, keepdims=True, dtype=np.float64))
        return np.asarray(right.shape[-2] * za * zb - za * sums)

    def _scale(self, *operands: Tensor | None) -> FloatArray:
        a, b, *_ = self._operands(*operands)
        return _per_column(a.quantizer.scale * b.quantizer.scale * self.alpha)

    def _bias(self, operands: tuple[Tensor | None, ...]) -> FloatArray | None:
        bias = operands[2] if len(operands) > 2 else None
        if bias is None or self.beta == 0.0:
            return None
        return bias.values if self.beta == 1.0 else bias.values * np.float32(self.beta)

    def dequantize(
        self,
        accumulator: Codes,
        *operands: Tensor | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        del output
        values = kernels.dequantize_affine(
            accumulator, constant=self._constant(*operands), scale=self._scale(*operands)
        )
        bias = self._bias(operands)
        return values if bias is None else values + bias

    def output_params(self, *operands: Tensor | None) -> UniformQuantizationParameters | None:
        """Return the accumulator's own grid; its zero point holds the bias."""
        scale = self._scale(*operands)
        zero_point = -self._constant(*operands)
        bias = self._bias(operands)
        if bias is not None:
            # the reference divides in the bias' dtype, float32
            zero_point = zero_point + bias / np.asarray(-scale, dtype=bias.dtype)
        return UniformQuantizationParameters(
            scale if scale.ndim else np.float64(scale), np.asarray(zero_point, dtype=np.float64), 0
        )

    def channel_axis(self, weight_shape: tuple[int, ...]) -> int | None:
        """Return the axis of the weights' output channels; None for stacks of matrices."""
        return (0 if self.transB else 1) if len(weight_shape) == 2 else None


def _per_column(values: int | np.float64 | AnyArray) -> FloatArray:
    """Shape what the weights have once, or per output channel, for the product's columns."""
    array = np.asarray(values, dtype=np.float64)
    return array.reshape(-1) if array.ndim else array
