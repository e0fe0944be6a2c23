"""What types and weights let sums of products become."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.intervals import (
    Interval,
    arriving,
    factors,
    grid_codes,
    less_zero_point,
    split_product,
    sum_of_products,
    typed_range,
)
from quantlib.analysis.widths.linear_forms import (
    LinearForm,
    of_convolution,
    of_matrix,
    of_transposed,
)
from quantlib.analysis.widths.ranges import Bounds, ChannelRange, Part
from quantlib.ops import kernels
from quantlib.ops.conv import Conv
from quantlib.ops.conv_transpose import ConvTranspose
from quantlib.ops.inside import weight_zero_points
from quantlib.ops.linear import Gemm

if TYPE_CHECKING:
    from quantlib.analysis.widths.facts import LayerFacts
    from quantlib.core.tensor import Tensor


def linear_form(facts: LayerFacts, weights: Tensor) -> LinearForm:
    """Return the weighted sums of a product or convolution with other constant weights.

    Parameters
    ----------
    facts : LayerFacts
        A Gemm, MatMul or Conv with one constant factor.
    weights : Tensor
        That factor, on any grid.
    """
    if isinstance(facts.op, Conv):
        return of_convolution(facts.op, weights.centred(), facts.shapes[0][2:])
    if isinstance(facts.op, ConvTranspose):
        return of_transposed(facts.op, weights.centred(), facts.shapes[0][2:])
    assert isinstance(facts.op, Gemm)
    first = 0 in facts.layer.constants
    return of_matrix(facts.op, weights.codes if first else weights.centred(), first=first)


def matrix_product(facts: LayerFacts) -> Bounds:
    """Return the bounds of a Gemm or MatMul."""
    if 1 in facts.layer.constants:
        return _codes_times_weights(facts)
    if 0 in facts.layer.constants:
        return _weights_times_codes(facts)
    return _codes_times_codes(facts)


def _codes_times_weights(facts: LayerFacts) -> Bounds:
    op, (a, b) = facts.op, factors(facts)
    assert isinstance(op, Gemm)
    low, high = arriving(a)
    fan_in = op.fan_in(b.shape)
    zero_points = weight_zero_points(b, 0 if op.transB else -1)
    parts: tuple[Part, ...] = ()
    if np.any(zero_points):
        product = of_matrix(op, b.codes, first=False).extremes(low, high, 0)
        sums = ChannelRange.of(fan_in * low, fan_in * high)
        parts = split_product(product, sums, zero_points)
    types = typed_range(grid_codes(a), b, zero_points, fan_in)
    return Bounds(types, linear_form(facts, b).extremes(low, high, 0), parts)


def _weights_times_codes(facts: LayerFacts) -> Bounds:
    op, (a, b) = facts.op, factors(facts)
    assert isinstance(op, Gemm)
    fan_in = a.shape[0 if op.transA else -1]
    types = sum_of_products(grid_codes(a), less_zero_point(grid_codes(b), b), fan_in)
    weights = linear_form(facts, a).extremes(*less_zero_point(arriving(b), b), 0)
    parts: tuple[Part, ...] = ()
    if np.any(b.quantizer.zero_point):
        parts = (Part("product", linear_form(facts, a).extremes(*arriving(b), 0)),)
    return Bounds(ChannelRange.of(*types.range, channels=weights.channels), weights, parts)


def _codes_times_codes(facts: LayerFacts) -> Bounds:
    op, (a, b) = facts.op, factors(facts)
    assert isinstance(op, Gemm)
    known = facts.shapes[0][0 if op.transA else -1] or facts.shapes[1][-1 if op.transB else -2]
    fan_in = known or facts.rows
    low, high = arriving(a)
    zero_point = int(np.asarray(b.quantizer.zero_point))
    parts: tuple[Part, ...] = ()
    if zero_point:
        sums = ChannelRange.of(fan_in * low, fan_in * high)
        product = sum_of_products((low, high), arriving(b), fan_in)
        parts = split_product(product, sums, np.array([zero_point]))
    if any(op.factor_lsbs or ()):
        found = _rounded_squares(facts, op, fan_in, parts)
    else:
        inner = less_zero_point(arriving(b), b)
        found = Bounds(
            sum_of_products(
                grid_codes(a), less_zero_point(grid_codes(b), b), fan_in, facts.channels
            ),
            sum_of_products((low, high), inner, fan_in, facts.channels),
            parts,
            exact=known is not None,
        )
    more = (*_squares(op, (low, high), arriving(b)), *_column_sums(facts, found.weights, fan_in))
    return dataclasses.replace(found, parts=(*found.parts, *more))


def _squares(op: Gemm, a: Interval, b: Interval) -> tuple[Part, ...]:
    """Return the bounds of sums and differences of two encrypted factors, and their squares."""
    parts = []
    for name, ends, lsbs in zip(
        ("sum", "difference"),
        ((a[0] + b[0], a[1] + b[1]), (a[0] - b[1], a[1] - b[0])),
        op.factor_lsbs or (0, 0),
        strict=True,
    ):
        exact = np.array(ends)
        rounded = kernels.round_low_bits(exact, lsbs)
        both = np.concatenate([exact, rounded])
        square = int(np.abs(rounded).max()) ** 2 // 4
        parts.append(Part(f"factors' {name}", ChannelRange.of(int(both.min()), int(both.max()))))
        parts.append(Part(f"square of the {name}", ChannelRange.of(0, square)))
    return tuple(parts)


def _column_sums(facts: LayerFacts, accumulator: ChannelRange, fan_in: int) -> tuple[Part, ...]:
    """Return the bounds of the constant terms of a product of two encrypted matrices."""
    a, b = factors(facts)
    za, zb = (int(np.ravel(x.quantizer.zero_point)[0]) for x in (a, b))
    sums = tuple(fan_in * end for end in arriving(b))
    ends = [za * end for end in sums]
    low, high = (end + fan_in * za * zb for end in accumulator.range)
    return (
        Part("column sum", ChannelRange.of(*sums)),
        Part("column term", ChannelRange.of(min(ends), max(ends))),
        Part("shifted product", ChannelRange.of(low, high)),
        Part("whole product", ChannelRange.of(low - max(ends), high - min(ends))),
    )


def _rounded_squares(facts: LayerFacts, op: Gemm, fan_in: int, parts: tuple[Part, ...]) -> Bounds:
    """Return the bounds of a product whose terms are made of two rounded squares.

    A rounded sum is off by half a step at most, so a quarter square of ``s`` is off by
    ``(step * abs(s) + step**2 / 4) / 4`` and what truncation adds.
    """
    a, b = factors(facts)
    assert op.factor_lsbs is not None

    def reach(first: Interval, second: Interval) -> ChannelRange:
        product = sum_of_products(first, less_zero_point(second, b), fan_in, facts.channels)
        furthest = max(map(abs, first)) + max(map(abs, second))
        slack = sum(2**lsbs * furthest + 4**lsbs + 1 for lsbs in op.factor_lsbs or ())
        low, high = product.range
        return ChannelRange.of(low - fan_in * slack, high + fan_in * slack, channels=facts.channels)

    return Bounds(
        reach(grid_codes(a), grid_codes(b)),
        reach(arriving(a), arriving(b)),
        tuple(part for part in parts if part.name != "product"),
        exact=False,
    )


def convolution(facts: LayerFacts) -> Bounds:
    """Return the bounds of a Conv."""
    op, (x, w) = facts.op, factors(facts)
    assert isinstance(op, Conv)
    spatial = facts.shapes[0][2:]
    fill = int(np.asarray(x.quantizer.zero_point))
    low, high = arriving(x)
    zero_points = weight_zero_points(w, 0)
    ones = of_convolution(op, np.ones((1, *w.shape[1:])), spatial)
    grid = grid_codes(x)
    if np.any(ones.padded):
        grid = min(grid[0], fill), max(grid[1], fill)
    parts: tuple[Part, ...] = ()
    if np.any(zero_points):
        product = of_convolution(op, w.codes, spatial).extremes(low, high, fill)
        parts = split_product(product, ones.extremes(low, high, fill), zero_points)
    return Bounds(
        typed_range(grid, w, zero_points, op.fan_in(w.shape)),
        linear_form(facts, w).extremes(low, high, fill),
        parts,
    )


def transposed_convolution(facts: LayerFacts) -> Bounds:
    """Return the bounds of a ConvTranspose."""
    op, (x, w) = facts.op, factors(facts)
    assert isinstance(op, ConvTranspose)
    zero_points = np.tile(weight_zero_points(w, 1), op.group)
    types = typed_range(less_zero_point(grid_codes(x), x), w, zero_points, op.fan_in(w.shape))
    # near a border fewer codes are added, down to none
    types = ChannelRange(np.minimum(types.low, 0), np.maximum(types.high, 0))
    return Bounds(types, linear_form(facts, w).extremes(*less_zero_point(arriving(x), x), 0))
