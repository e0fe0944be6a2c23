"""The integers that an encrypted computation holds on the way to an accumulator.

A circuit of Concrete computes the accumulator of an operator step by step, and every step must
fit: the product of codes before the zero points leave, the sum of the inputs, both halves of a
sum. This module knows the steps; the accumulator itself is not among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from quantlib.arrays import exact_integers
from quantlib.core.tensor import Tensor
from quantlib.core.widths import bit_width
from quantlib.ops import kernels
from quantlib.ops.arithmetic import Add, Div, Mul
from quantlib.ops.base import MixingOp
from quantlib.ops.conv import Conv
from quantlib.ops.linear import Gemm
from quantlib.ops.pooling import AveragePool, MaxPool
from quantlib.ops.reduction import GlobalAveragePool, ReduceMean, ReduceSum
from quantlib.ops.unfold import Unfold
from quantlib.ops.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.arrays import AnyArray, Codes
    from quantlib.execution.layer import LayerRun, QuantizedLayer


class Intermediate(NamedTuple):
    """One step towards an accumulator.

    Parameters
    ----------
    name : str
        As in `quantlib.analysis.widths.ranges.Part`.
    values : integer array
        What it held; the extremes alone where the whole would be larger than the operands.
    reported : bool
        Whether the report of a circuit counts it to the operator.
    """

    name: str
    values: AnyArray
    reported: bool = True


def intermediates(layer: QuantizedLayer, run: LayerRun) -> Iterator[Intermediate]:
    """Yield the steps of an integer operator's run, in the order in which they are computed.

    What rounding makes of the accumulator is the last of them: it may carry into a further bit.
    """
    yield from _steps(layer, run)
    if layer.lsbs_to_remove:
        assert isinstance(layer.op, MixingOp)
        offset = layer.op.rounding_offset(*run.operands)  # type: ignore[arg-type]
        shifted = _accumulator(run) + exact_integers(np.asarray(offset))
        yield Intermediate("rounded", kernels.round_low_bits(shifted, layer.lsbs_to_remove))


def _steps(layer: QuantizedLayer, run: LayerRun) -> Iterator[Intermediate]:
    op = layer.op
    if isinstance(op, ReduceSum | ReduceMean | GlobalAveragePool):
        offset = op.rounding_offset(*run.operands)  # type: ignore[arg-type]
        if offset:
            yield Intermediate("shifted sum", _accumulator(run) + offset)
        return
    first, second = run.operands[0], run.operands[1] if len(run.operands) > 1 else None
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        return
    if isinstance(op, Gemm | Conv):
        if 0 in layer.constants:
            assert isinstance(op, Gemm)
            yield from _of_constant_first(op, run, first, second)
            return
        if 1 not in layer.constants:
            assert isinstance(op, Gemm)
            yield from _of_squares(op, first, second)
        yield from _of_product(layer, op, run, first, second)
        if 1 not in layer.constants:
            assert isinstance(op, Gemm)
            yield from _of_column_sums(op, run, first, second)
    elif isinstance(op, Mul) and has_zero_point(first, second):
        yield from _of_factors(layer, op, run, first, second)
    elif isinstance(op, Add):
        for name, pair in (
            ("first term", (first, _at_zero(second))),
            ("second term", (_at_zero(first), second)),
        ):
            yield Intermediate(name, op.accumulate(*pair, output=layer.output_grid()))


def _accumulator(run: LayerRun) -> AnyArray:
    return exact_integers(np.asarray(run.accumulator))


def _of_product(
    layer: QuantizedLayer, op: Gemm | Conv, run: LayerRun, x: Tensor, w: Tensor
) -> Iterator[Intermediate]:
    """Yield the terms of ``x @ w - zw * sum(x)``."""
    if not np.any(w.quantizer.zero_point):
        return
    sums = _input_sums(op, x, w)
    axis = 0 if isinstance(op, Conv) or op.transB else -1
    zero_points = (
        weight_zero_points(w, axis) if 1 in layer.constants else np.ravel(w.quantizer.zero_point)
    )
    if isinstance(op, Conv):
        zero_points = zero_points.reshape(-1, *(1,) * (sums.ndim - 2))
    term = sums * -zero_points
    yield Intermediate("product", _accumulator(run) - term)
    yield Intermediate("input sum", np.broadcast_to(sums, term.shape))
    yield Intermediate("zero-point term", term)


def _of_constant_first(op: Gemm, run: LayerRun, w: Tensor, x: Tensor) -> Iterator[Intermediate]:
    """Yield the product of ``w @ x - zx * sum(w)``, whose second term is a constant."""
    zero_point = int(np.ravel(x.quantizer.zero_point)[0])
    weights, _ = _oriented(op, w, x)
    if zero_point and weights.ndim > 1:
        sums = weights.sum(axis=-1, keepdims=True)
        yield Intermediate("product", _accumulator(run) + zero_point * sums)


def _of_squares(op: Gemm, a: Tensor, b: Tensor) -> Iterator[Intermediate]:
    """Yield what two encrypted matrices' products are made of: ``(a+b)**2/4 - (a-b)**2/4``."""
    left, right = _oriented(op, a, b)
    low, high = left.min(axis=-2)[..., None], left.max(axis=-2)[..., None]
    sum_lsbs, difference_lsbs = op.factor_lsbs or (0, 0)
    for name, ends, lsbs in (
        ("sum", (low + right, high + right), sum_lsbs),
        ("difference", (low - right, high - right), difference_lsbs),
    ):
        exact = np.stack(np.broadcast_arrays(*ends))
        rounded = kernels.round_low_bits(exact, lsbs)
        yield Intermediate(f"factors' {name}", np.concatenate([exact, rounded]))
        yield Intermediate(f"square of the {name}", rounded**2 // 4)


def _of_column_sums(op: Gemm, run: LayerRun, a: Tensor, b: Tensor) -> Iterator[Intermediate]:
    """Yield what is added to a product of two encrypted matrices: ``K za zb - za * sum(b)``."""
    _, right = _oriented(op, a, b)
    za, zb = (int(np.ravel(x.quantizer.zero_point)[0]) for x in (a, b))
    sums = right.sum(axis=-2, keepdims=True)
    with_constant = _accumulator(run) + right.shape[-2] * za * zb
    yield Intermediate("column sum", sums)
    yield Intermediate("column term", za * sums)
    yield Intermediate("shifted product", with_constant, reported=False)
    yield Intermediate("whole product", with_constant - za * sums, reported=False)


def _of_factors(
    layer: QuantizedLayer, op: Mul, run: LayerRun, a: Tensor, b: Tensor
) -> Iterator[Intermediate]:
    """Yield the terms of ``a*b - za*b - zb*a``."""
    left, right = (
        kernels.round_low_bits(exact_integers(x.codes), lsbs)
        for x, lsbs in zip((a, b), op.factor_lsbs, strict=True)
    )
    za, zb = (int(np.ravel(x.quantizer.zero_point)[0]) for x in (a, b))
    product = left * right
    yield Intermediate("product", product, reported=False)
    yield Intermediate("first zero-point term", za * right, reported=False)
    yield Intermediate("centred product", product - za * right, reported=False)
    yield Intermediate("second zero-point term", zb * left, reported=False)
    if layer.leaving_params(run.operands) is None:
        accumulator = kernels.round_low_bits(_accumulator(run), layer.lsbs_to_remove)
        yield Intermediate("whole product", accumulator + za * zb, reported=False)


def _oriented(op: Gemm, a: Tensor, b: Tensor) -> tuple[AnyArray, AnyArray]:
    left, right = (exact_integers(x.codes) for x in (a, b))
    return left.T if op.transA else left, right.T if op.transB else right


def _input_sums(op: Gemm | Conv, x: Tensor, w: Tensor) -> AnyArray:
    """Return the sum of the codes that meet each accumulator, int64, broadcastable to it."""
    if isinstance(op, Gemm):
        codes = exact_integers(x.codes.T if op.transA else x.codes)
        return np.asarray(codes.sum(axis=-1, keepdims=True))
    window = Window.from_attributes(op.attributes, w.shape[2:])
    fill = int(np.asarray(x.quantizer.zero_point))
    magnitude = max(x.magnitude, abs(fill))
    sums: Codes = kernels.convolve(
        kernels.pad_spatial(x.codes, window.pads_for(x.shape[2:]), fill),
        np.ones((op.group, *w.shape[1:]), dtype=np.float32),
        strides=window.strides,
        dilations=window.dilations,
        group=op.group,
        bound=kernels.product_bound(magnitude, op.fan_in(w.shape)),
    )
    return np.repeat(exact_integers(sums), len(w.codes) // op.group, axis=1)


def _at_zero(x: Tensor) -> Tensor:
    """Return a tensor of real zeros on the grid of `x`."""
    code = np.asarray(x.quantizer.zero_point, dtype=x.codes.dtype)
    return Tensor(x.quantizer, codes=np.broadcast_to(code, x.shape))


def weight_zero_points(w: Tensor, axis: int) -> AnyArray:
    """Return the weights' zero point of each output channel, which lie along `axis`."""
    codes, centred = (
        np.moveaxis(part, axis, 0).reshape(part.shape[axis], -1)[:, 0]
        for part in (w.codes, w.centred())
    )
    return np.asarray(np.rint(codes - centred), dtype=np.int64)


def has_zero_point(*tensors: Tensor) -> bool:
    """Tell whether real 0.0 is another code than 0 for any of the tensors."""
    return any(bool(np.any(t.quantizer.zero_point)) for t in tensors)


def reported(layer: QuantizedLayer, run: LayerRun) -> tuple[int, int, int]:
    """Return the smallest and largest integer a circuit reports for an operator, and its width.

    Notes
    -----
    A circuit counts to an operator what its accumulator is made of, the constants it holds for
    that, the accumulator, and the accumulator after rounding; its width is that of the widest of
    these. Of a product or quotient of two tensors it counts the rounding alone. Operators that it
    does not name at all (sums and unrounded products of two tensors, maxima) have their
    accumulator here.
    """
    named = not isinstance(layer.op, Add | Mul | Div | MaxPool)
    held = [
        step.values
        for step in intermediates(layer, run)
        if step.reported and (named or step.name == "rounded")
    ]
    if named or not held:
        held.append(_accumulator(run))
    if named:
        held += [np.array(value) for value in _constants(layer, run)]
    ends = [(int(part.min()), int(part.max())) for part in held]
    lows, highs = zip(*ends, strict=True)
    return min(lows), max(highs), max(bit_width(*pair) for pair in ends)


def _constants(layer: QuantizedLayer, run: LayerRun) -> Iterator[int | list[int]]:
    """Yield the constants that a circuit holds inside an operator."""
    op, operands = layer.op, run.operands
    if isinstance(op, AveragePool | Unfold):
        yield [0, 1]
    elif isinstance(op, ReduceSum) and layer.leaving_params(operands) is None:
        yield -int(op.rounding_offset(*operands))  # type: ignore[arg-type]
    elif isinstance(op, Gemm | Conv):
        for i in (0, 1):
            constant = layer.constants.get(i)
            if isinstance(constant, Tensor):
                yield [int(constant.codes.min()), int(constant.codes.max())]
        a, b = operands[:2]
        assert isinstance(a, Tensor) and isinstance(b, Tensor)
        for shift in np.unique(b.quantizer.zero_point) if 0 not in layer.constants else ():
            if shift:
                yield -int(shift)
                yield from [1] if isinstance(op, Conv) else []
        if not {0, 1} & set(layer.constants):
            yield from (int(shift) for shift in np.unique(a.quantizer.zero_point))
