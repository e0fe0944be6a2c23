"""Matrix products: Gemm and MatMul."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quantlib.arrays import exact_integers
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.tensor import as_tensor
from quantlib.ops import kernels
from quantlib.ops.base import WeightedOp, bias_of
from quantlib.ops.inside import (
    InnerLookUps,
    Intermediate,
    has_zero_point,
    held_by_product,
    split_at_zero_points,
    weight_zero_points,
    zero_point,
)
from quantlib.ops.registry import register_op

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from quantlib.arrays import AnyArray, Codes, FloatArray
    from quantlib.core.tensor import Tensor, Value
    from quantlib.graph.model import Node
    from quantlib.ops.inside import Place


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

    def _operands(self, *operands: Value | None) -> tuple[Tensor, Tensor, Codes, Codes]:
        a, b = map(as_tensor, operands[:2])
        return a, b, a.codes.T if self.transA else a.codes, b.codes.T if self.transB else b.codes

    def accumulate(
        self, *operands: Value | None, output: UniformQuantizationParameters | None
    ) -> Codes:
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
        self, *operands: Value | None, constants: Collection[int], threshold_bits: int
    ) -> Gemm:
        """Learn how many bits sums and differences of two encrypted factors lose."""
        if constants:
            return self
        _, _, left, right = self._operands(*operands)
        return replace(self, factor_lsbs=kernels.excess_bits_of_sums(left, right, threshold_bits))

    def rounding_offset(self, *operands: Value | None) -> int | Codes:
        """Return the constant terms: of two encrypted factors the whole product is rounded."""
        return 0 if self.factor_lsbs is None else self._constant(*operands)

    def _constant(self, *operands: Value | None) -> FloatArray:
        """Return ``K*za*zb - za * sum(Bq)``, what the accumulator lacks."""
        a, b, _, right = self._operands(*operands)
        za = np.float64(a.quantizer.zero_point)
        zb = _per_column(b.quantizer.zero_point)
        sums = b.derived("sums", lambda: right.sum(axis=-2, keepdims=True, dtype=np.float64))
        return np.asarray(right.shape[-2] * za * zb - za * sums)

    def _scale(self, *operands: Value | None) -> FloatArray:
        a, b, *_ = self._operands(*operands)
        return _per_column(a.quantizer.scale * b.quantizer.scale * self.alpha)

    def _bias(self, operands: tuple[Value | None, ...]) -> FloatArray | None:
        bias = bias_of(operands)
        if bias is None or self.beta == 0.0:
            return None
        return bias.values if self.beta == 1.0 else bias.values * np.float32(self.beta)

    def dequantize(
        self,
        accumulator: Codes,
        *operands: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        values = kernels.dequantize_affine(
            accumulator, constant=self._constant(*operands), scale=self._scale(*operands)
        )
        bias = self._bias(operands)
        return values if bias is None else values + bias

    def output_params(self, *operands: Value | None) -> UniformQuantizationParameters | None:
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

    def intermediates(
        self, accumulator: AnyArray, *operands: Value | None, place: Place
    ) -> Iterator[Intermediate]:
        """Yield the terms of the product: of codes and constants, or of two encrypted factors."""
        a, b, *_ = self._operands(*operands)
        left, right = (
            exact_integers(codes.T if turned else codes)
            for codes, turned in ((a.codes, self.transA), (b.codes, self.transB))
        )
        if 0 in place.constants:
            if zero_point(b) and left.ndim > 1:
                sums = left.sum(axis=-1, keepdims=True)
                yield Intermediate("product", accumulator + zero_point(b) * sums)
            return
        encrypted = 1 not in place.constants
        if encrypted:
            yield from self._squares(left, right)
        if has_zero_point(b):
            zero_points = (
                np.ravel(b.quantizer.zero_point)
                if encrypted
                else weight_zero_points(b, 0 if self.transB else -1)
            )
            sums = np.asarray(left.sum(axis=-1, keepdims=True))
            yield from split_at_zero_points(accumulator, sums, zero_points)
        if encrypted:
            yield from _column_sums(accumulator, right, zero_point(a), zero_point(b))

    def _squares(self, left: AnyArray, right: AnyArray) -> Iterator[Intermediate]:
        """Yield what two encrypted factors' products are made of: halves of squares."""
        low, high = left.min(axis=-2)[..., None], left.max(axis=-2)[..., None]
        sum_lsbs, difference_lsbs = self.factor_lsbs or (0, 0)
        for name, ends, lsbs in (
            ("sum", (low + right, high + right), sum_lsbs),
            ("difference", (low - right, high - right), difference_lsbs),
        ):
            whole = np.stack(np.broadcast_arrays(*ends))
            rounded = kernels.round_low_bits(whole, lsbs)
            yield Intermediate(f"factors' {name}", np.concatenate([whole, rounded]))
            yield Intermediate(f"square of the {name}", rounded**2 // 4)

    def held_constants(self, *operands: Value | None, place: Place) -> Iterator[int | list[int]]:
        """Yield the weights' extremes and the zero points."""
        a, b, *_ = self._operands(*operands)
        return held_by_product(a, b, place.constants, counts_one=False)

    def inner_look_ups(
        self, variables: Sequence[Tensor], *, sizes: Sequence[int], outputs: int, products: int
    ) -> Iterator[InnerLookUps]:
        """Yield two squares per product of two encrypted factors, and their rounding."""
        if len(variables) == 2:
            width = max(x.n_bits for x in variables) + 1
            yield InnerLookUps("product", 2 * (products or outputs), width)
            yield InnerLookUps("rounding", products * sum(self.factor_lsbs or ()), 1)

    def copies_factors(self, constants: Collection[int]) -> bool:
        """Two encrypted factors are copied by a table each."""
        return not {0, 1} & set(constants)

    def channel_axis(self, weight_shape: tuple[int, ...]) -> int | None:
        """Return the axis of the weights' output channels; None for stacks of matrices."""
        return (0 if self.transB else 1) if len(weight_shape) == 2 else None


def _column_sums(
    accumulator: AnyArray, right: AnyArray, za: int, zb: int
) -> Iterator[Intermediate]:
    """Yield what is added to a product of two encrypted factors: ``K za zb - za * sum(b)``."""
    sums = right.sum(axis=-2, keepdims=True)
    with_constant = accumulator + right.shape[-2] * za * zb
    yield Intermediate("column sum", sums)
    yield Intermediate("column term", za * sums)
    yield Intermediate("shifted product", with_constant, reported=False)
    yield Intermediate("whole product", with_constant - za * sums, reported=False)


def _per_column(values: int | np.float64 | AnyArray) -> FloatArray:
    """Shape what the weights have once, or per output channel, for the product's columns."""
    array = np.asarray(values, dtype=np.float64)
    return array.reshape(-1) if array.ndim else array
