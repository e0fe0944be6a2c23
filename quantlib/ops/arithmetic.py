"""Sums and products of two different integer tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quantlib.arrays import carrier, exact_integers
from quantlib.core import affine
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.rescale import Table
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.core.tensor import Tensor, as_tensor
from quantlib.errors import TensorError
from quantlib.graph.float_definitions import divide
from quantlib.ops import kernels
from quantlib.ops.base import MixingOp
from quantlib.ops.inside import InnerLookUps, Intermediate, has_zero_point, zero_point
from quantlib.ops.registry import register_op

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from quantlib.arrays import AnyArray, Codes, FloatArray
    from quantlib.core.tensor import Value
    from quantlib.graph.model import Node
    from quantlib.ops.inside import Place


TABLE_WORTH = 1 << 14
"""Values from which on a table of all codes is worth being made."""


def _pair(operands: tuple[Value | None, ...]) -> tuple[Tensor, Tensor]:
    a, b = map(as_tensor, operands)
    return a, b


def _zeros(x: Tensor) -> Tensor:
    """Return real zeros on the grid of `x`, in its shape."""
    code = np.asarray(x.quantizer.zero_point, dtype=x.codes.dtype)
    return Tensor(x.quantizer, codes=np.broadcast_to(code, x.shape))


def _squares(variables: Sequence[Tensor], outputs: int) -> InnerLookUps:
    """Return the look-ups of ``((x + y)**2 - (x - y)**2) / 4`` for each of `outputs` products."""
    return InnerLookUps("product", 2 * outputs, max(x.n_bits for x in variables) + 1)


def _on_further_grid(x: Tensor, grid: UniformQuantizer) -> Codes:
    """Return the codes on another grid of what a tensor's codes stand for, in float64.

    By a table over the codes that are there, where these are fewer than the data.
    """
    codes, own = x.codes, x.quantizer
    if codes.size > TABLE_WORTH and not own.is_per_channel:
        low, high = int(codes.min()), int(codes.max())
        if high - low < codes.size // 4:
            every = np.arange(low, high + 1)
            return Table(low, grid.quant(own.dequant(every), dtype=np.float64))(codes, np.float64)
    return grid.quant(own.dequant(codes), dtype=np.float64)


@register_op("Add")
@dataclass(frozen=True, slots=True)
class Add(MixingOp):
    """``A + B`` of two integer tensors (ONNX Add-14).

    Both are put on a common scale with zero point 0, unclipped, and added.
    """

    sign: ClassVar[int] = 1
    rounds_accumulator = named_in_circuit = False
    fuses = takes_variables = True

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Take no attributes."""
        return cls()

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        a, b = inputs
        return (np.asarray(a + self.sign * b),)  # type: ignore[operator]

    @staticmethod
    def _scale(a: Tensor, b: Tensor, output: UniformQuantizationParameters | None) -> np.float64:
        """Return the output's scale; a graph output takes the finer of the inputs' scales."""
        scales = [output.scale] if output else [a.quantizer.scale, b.quantizer.scale]
        return np.float64(np.min(scales))

    def accumulate(
        self, *operands: Value | None, output: UniformQuantizationParameters | None
    ) -> Codes:
        a, b = _pair(operands)
        grid = self._grid(a, b, output)
        left, right = _on_further_grid(a, grid), _on_further_grid(b, grid)
        if self.sign > 0 and left.shape == np.broadcast_shapes(left.shape, right.shape):
            left += right
            return left
        return np.asarray(left + self.sign * right)

    def _grid(
        self, a: Tensor, b: Tensor, output: UniformQuantizationParameters | None
    ) -> UniformQuantizer:
        """Return the common grid, which does not clip."""
        params = UniformQuantizationParameters(self._scale(a, b, output), 0, 0)
        return UniformQuantizer(a.quantizer.quant_options, None, params, no_clipping=True)

    def roundings(
        self,
        *inputs: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> tuple[tuple[AnyArray, UniformQuantizer], ...]:
        """Return both operands and their common grid."""
        a, b = _pair(inputs)
        grid = self._grid(a, b, output)
        return tuple((x.quantizer.dequant(x.codes), grid) for x in (a, b))

    def dequantize(
        self,
        accumulator: Codes,
        *operands: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        scale = self._scale(*_pair(operands), output)
        return affine.dequantize(accumulator, scale=scale, zero_point=0)

    def intermediates(
        self, accumulator: AnyArray, *operands: Value | None, place: Place
    ) -> Iterator[Intermediate]:
        """Yield both terms on the common scale, each beside real zeros."""
        a, b = _pair(operands)
        for name, pair in (("first term", (a, _zeros(b))), ("second term", (_zeros(a), b))):
            yield Intermediate(name, self.accumulate(*pair, output=place.output))

    def rescales(self, position: int) -> bool:
        """Both terms are put on the common scale."""
        return True

    def output_params(self, *operands: Value | None) -> UniformQuantizationParameters | None:
        """Return the common grid."""
        return UniformQuantizationParameters(self._scale(*_pair(operands), None), 0, 0)


@register_op("Sub")
class Sub(Add):
    """``A - B`` of two integer tensors (ONNX Sub-14)."""

    sign: ClassVar[int] = -1


@register_op("Mul")
@dataclass(frozen=True, slots=True)
class Mul(MixingOp):
    """``A * B`` of two integer tensors (ONNX Mul-14).

    The accumulator is ``a*b - za*b - zb*a``; adding ``za*zb`` completes the product. A rounding
    threshold rounds both factors before it rounds the accumulator.

    Parameters
    ----------
    factor_lsbs : tuple of int
        Low bits that rounding takes from A and from B.
    """

    factor_lsbs: tuple[int, int] = (0, 0)
    fuses = takes_variables = multiplies = adds_offset_last = True
    named_in_circuit = False

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Take no attributes."""
        return cls()

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        a, b = inputs
        return (np.asarray(a * b),)  # type: ignore[operator]

    def accumulate(
        self, *operands: Value | None, output: UniformQuantizationParameters | None
    ) -> Codes:
        pair = _pair(operands)
        za, zb = (int(np.asarray(x.quantizer.zero_point)) for x in pair)
        reach_a, reach_b = (
            x.magnitude + 2**lsbs for x, lsbs in zip(pair, self.factor_lsbs, strict=True)
        )
        bound = (reach_a + abs(za)) * (reach_b + abs(zb)) + abs(za * zb)
        kind = carrier(kernels.checked(bound))
        left, right = (
            kernels.round_low_bits(x.codes, lsbs).astype(kind, copy=False)
            for x, lsbs in zip(pair, self.factor_lsbs, strict=True)
        )
        return np.asarray(left * right - za * right - zb * left, dtype=kind)

    def intermediates(
        self, accumulator: AnyArray, *operands: Value | None, place: Place
    ) -> Iterator[Intermediate]:
        """Yield the terms of ``a*b - za*b - zb*a``."""
        a, b = _pair(operands)
        if not has_zero_point(a, b):
            return
        left, right = (
            kernels.round_low_bits(exact_integers(x.codes), lsbs)
            for x, lsbs in zip((a, b), self.factor_lsbs, strict=True)
        )
        za, zb = zero_point(a), zero_point(b)
        product = left * right
        yield Intermediate("product", product, reported=False)
        yield Intermediate("first zero-point term", za * right, reported=False)
        yield Intermediate("centred product", product - za * right, reported=False)
        yield Intermediate("second zero-point term", zb * left, reported=False)
        if not place.leaves:
            rounded = kernels.round_low_bits(accumulator, place.lsbs_to_remove)
            yield Intermediate("whole product", rounded + za * zb, reported=False)

    def inner_look_ups(
        self, variables: Sequence[Tensor], *, sizes: Sequence[int], outputs: int, products: int
    ) -> list[InnerLookUps]:
        """Return two squares per product, and the rounding of both factors."""
        if len(variables) < 2:
            return []
        taken = sum(n * bits for n, bits in zip(sizes[:2], self.factor_lsbs, strict=True))
        return [_squares(variables, outputs), InnerLookUps("rounding", taken, 1)]

    def copies_factors(self, constants: Collection[int]) -> bool:
        """Both factors are copied by a table each."""
        return True

    def last_offset(self, variables: Sequence[Tensor]) -> int:
        """Return ``za*zb``."""
        return zero_point(variables[0]) * zero_point(variables[1])

    def with_rounded_operands(
        self, *operands: Value | None, constants: Collection[int], threshold_bits: int
    ) -> Mul:
        """Learn how many bits the factors' codes have above the threshold."""
        a, b = (kernels.excess_bits(x.codes, threshold_bits) for x in _pair(operands))
        return Mul((a, b))

    def dequantize(
        self,
        accumulator: Codes,
        *operands: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        params = self.output_params(*operands)
        return affine.dequantize(accumulator, scale=params.scale, zero_point=params.zero_point)

    def output_params(self, *operands: Value | None) -> UniformQuantizationParameters:
        """Return the product's grid.

        Concrete ML gives a graph output the zero point ``za*zb``, whose sign contradicts its own
        inner product; the integers are the same, the values here are right.
        """
        a, b = _pair(operands)
        za, zb = (int(np.asarray(x.quantizer.zero_point)) for x in (a, b))
        return UniformQuantizationParameters(
            np.float64(a.quantizer.scale * b.quantizer.scale), -za * zb, 0
        )


@register_op("Div")
@dataclass(frozen=True, slots=True)
class Div(MixingOp):
    """``A / B`` of two integer tensors (ONNX Div-14).

    A table look-up inverts B; the inverse, quantized at the outputs' width from the calibration
    data's ``1 / B``, multiplies A. The accumulator is ``(a - za)(v - zv) + za*zv``.
    """

    inverse: UniformQuantizer | None = None
    smallest: float = 1.0
    fuses = takes_variables = adds_offset_last = True
    named_in_circuit = False

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Take no attributes."""
        return cls()

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        a, b = inputs
        assert a is not None and b is not None
        with np.errstate(all="ignore"):
            return (divide(a, b),)

    def calibrated(self, *inputs: AnyArray | None, output_bits: int) -> Div:
        """Measure ``1 / B`` and the value of B that is nearest to 0.

        Pieces of the data follow one another: each widens what the operator knows already.
        """
        divisor = inputs[1]
        assert divisor is not None
        smallest = float(divisor.flat[np.abs(divisor).argmin()])
        if smallest == 0.0:
            raise TensorError(
                "the divisor is 0 for a calibration sample on this grid; use more bits, or data "
                "whose divisor stays away from 0."
            )
        stats = MinMaxQuantizationStats.from_values(1.0 / divisor)
        if self.inverse is not None and self.inverse.quant_stats is not None:
            stats = stats.merge(self.inverse.quant_stats)
            smallest = min(smallest, self.smallest, key=abs)
        grid = UniformQuantizer.from_stats(QuantizationOptions(output_bits), stats)
        return Div(grid, smallest)

    def inner_look_ups(
        self, variables: Sequence[Tensor], *, sizes: Sequence[int], outputs: int, products: int
    ) -> list[InnerLookUps]:
        """Return two squares per product with an inverse."""
        return [_squares(variables, outputs)] if len(variables) == 2 else []

    def last_offset(self, variables: Sequence[Tensor]) -> int:
        """Return ``za*zv``."""
        assert self.inverse is not None
        return zero_point(variables[0]) * int(np.asarray(self.inverse.zero_point))

    def rescales(self, position: int) -> bool:
        """The divisor is inverted by a table."""
        return position == 1

    def roundings(
        self,
        *inputs: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> tuple[tuple[AnyArray, UniformQuantizer], ...]:
        """Return the inverses of B and their grid."""
        _, divisor = _pair(inputs)
        assert self.inverse is not None
        values = divisor.quantizer.dequant(divisor.codes)
        return ((1.0 / np.where(values == 0.0, self.smallest, values), self.inverse),)

    def accumulate(
        self, *operands: Value | None, output: UniformQuantizationParameters | None
    ) -> Codes:
        ((inverses, grid),) = self.roundings(*operands, output=output)
        a, _ = _pair(operands)
        assert self.inverse is not None
        za, zv = (int(np.asarray(q.zero_point)) for q in (a.quantizer, self.inverse))
        kernels.checked((a.magnitude + abs(za)) * 2 ** (self.inverse.n_bits + 1) + abs(za * zv))
        left, right = a.codes.astype(np.int64), grid.quant(inverses)
        return np.asarray((left - za) * (right - zv) + za * zv)

    def dequantize(
        self,
        accumulator: Codes,
        *operands: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        params = self.output_params(*operands)
        return affine.dequantize(accumulator, scale=params.scale, zero_point=params.zero_point)

    def output_params(self, *operands: Value | None) -> UniformQuantizationParameters:
        """Return the grid of the product with the inverse."""
        a, _ = _pair(operands)
        assert self.inverse is not None
        za, zv = (int(np.asarray(q.zero_point)) for q in (a.quantizer, self.inverse))
        scale = np.float64(a.quantizer.scale * self.inverse.scale)
        return UniformQuantizationParameters(scale, za * zv, 0)
