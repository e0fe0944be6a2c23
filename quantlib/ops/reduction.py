"""Sums over axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.tensor import as_tensor
from quantlib.graph.node_functions import NodeFunction
from quantlib.ops import kernels
from quantlib.ops.base import MixingOp
from quantlib.ops.inside import Intermediate
from quantlib.ops.registry import register_op

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from quantlib.arrays import AnyArray, Codes, FloatArray
    from quantlib.core.tensor import Tensor, Value
    from quantlib.graph.model import Node
    from quantlib.ops.inside import Place


@dataclass(frozen=True, slots=True)
class _Reduction(MixingOp):
    """A sum of codes over axes, divided by their number for a mean.

    The axes are an attribute in older operator sets and a second input in newer ones; none at
    all mean every axis, or no axis with `noop_with_empty_axes`.
    """

    function: NodeFunction
    axes: tuple[int, ...] | None
    keepdims: bool
    noop_with_empty_axes: bool
    mean: bool

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        return self.function(*inputs)

    def axes_of(self, operands: tuple[Value | None, ...], ndim: int) -> tuple[int, ...]:
        """Return the axes that are summed, ascending, given the operands and their rank."""
        given = operands[1] if len(operands) > 1 else None
        chosen = self.axes if given is None else tuple(int(i) for i in np.ravel(given))  # type: ignore[arg-type]
        if not chosen:
            return () if self.noop_with_empty_axes else tuple(range(ndim))
        return tuple(sorted(i % ndim for i in chosen))

    def accumulate(
        self, *operands: Value | None, output: UniformQuantizationParameters | None
    ) -> Codes:
        x = as_tensor(operands[0])
        return kernels.exact_sum(
            x.codes,
            axis=self.axes_of(operands, x.codes.ndim),
            keepdims=self.keepdims,
            magnitude=x.magnitude,
        )

    def rounding_offset(self, *operands: Value | None) -> int:
        """Return ``-count * z``: the reference rounds the sum without its zero points."""
        x = as_tensor(operands[0])
        return -self._count(operands, x) * int(np.asarray(x.quantizer.zero_point))

    def intermediates(
        self, accumulator: AnyArray, *operands: Value | None, place: Place
    ) -> Iterator[Intermediate]:
        """Yield the sum without its zero points."""
        offset = self.rounding_offset(*operands)
        if offset:
            yield Intermediate("shifted sum", accumulator + offset)

    def _count(self, operands: tuple[Value | None, ...], x: Tensor) -> int:
        axes = self.axes_of(operands, x.codes.ndim)
        return int(np.prod([x.codes.shape[i] for i in axes]))

    def output_params(self, *operands: Value | None) -> UniformQuantizationParameters | None:
        """Return the sum's grid; a mean has the finer scale."""
        x = as_tensor(operands[0])
        count = self._count(operands, x)
        scale = np.float64(x.quantizer.scale / (count if self.mean else 1))
        return UniformQuantizationParameters(
            scale, count * int(np.asarray(x.quantizer.zero_point)), 0
        )

    def dequantize(
        self,
        accumulator: Codes,
        *operands: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        x = as_tensor(operands[0])
        count = self._count(operands, x)
        zero_point = np.float64(x.quantizer.zero_point)
        if self.mean:
            values = accumulator.astype(np.float64) * (1.0 / count) - zero_point
            return np.asarray(values * x.quantizer.scale)
        return kernels.dequantize_affine(
            accumulator, constant=-count * zero_point, scale=x.quantizer.scale
        )


@register_op("ReduceSum")
class ReduceSum(_Reduction):
    """Sum over axes (ONNX ReduceSum-13)."""

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Read the axes and whether they stay."""
        return cls(**_members(node, opsets), mean=False)

    def held_constants(self, *operands: Value | None, place: Place) -> list[int]:
        """Return the zero points that leave with the sum; none where a table takes them off."""
        return [] if place.leaves else [-self.rounding_offset(*operands)]


@register_op("ReduceMean")
class ReduceMean(_Reduction):
    """Mean over axes (ONNX ReduceMean-18); the accumulator is the sum."""

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Read the axes and whether they stay."""
        return cls(**_members(node, opsets), mean=True)


@register_op("GlobalAveragePool")
class GlobalAveragePool(_Reduction):
    """Mean over all spatial axes (ONNX GlobalAveragePool-1)."""

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Take all axes but batch and channel."""
        return cls(NodeFunction(node, opsets), None, True, False, mean=True)

    def axes_of(self, operands: tuple[Value | None, ...], ndim: int) -> tuple[int, ...]:
        """Return every axis but those of samples and channels."""
        return tuple(range(2, ndim))


def _members(node: Node, opsets: Mapping[str, int]) -> dict[str, Any]:
    axes = node.attributes.get("axes")
    return {
        "function": NodeFunction(node, opsets),
        "axes": tuple(axes) if axes is not None else None,
        "keepdims": bool(node.attributes.get("keepdims", 1)),
        "noop_with_empty_axes": bool(node.attributes.get("noop_with_empty_axes", 0)),
    }
