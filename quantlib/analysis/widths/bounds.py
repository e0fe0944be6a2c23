"""What types and weights let an accumulator become: exact bounds without data."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.widths.intervals import (
    Interval,
    arriving,
    factors,
    grid_codes,
    sum_of_products,
)
from quantlib.analysis.widths.product_bounds import (
    convolution,
    matrix_product,
    transposed_convolution,
)
from quantlib.analysis.widths.ranges import Bounds, ChannelRange, Part
from quantlib.core.tensor import Tensor
from quantlib.ops import kernels
from quantlib.ops.arithmetic import Add, Div, Mul
from quantlib.ops.conv import Conv
from quantlib.ops.conv_transpose import ConvTranspose
from quantlib.ops.inside import has_zero_point
from quantlib.ops.linear import Gemm
from quantlib.ops.pooling import AveragePool, MaxPool
from quantlib.ops.reduction import GlobalAveragePool, ReduceMean, ReduceSum
from quantlib.ops.unfold import Unfold

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantlib.analysis.widths.facts import LayerFacts
    from quantlib.arrays import Codes

_ALL_CODES = 2**16
"""A divisor's grid of up to this many codes is tried code by code."""


def bounds(facts: LayerFacts) -> Bounds | None:
    """Return the bounds of an integer operator's accumulator, None for one without a rule.

    Notes
    -----
    The extremes are over all inputs whose elements take any code independently of each other:
    for a weighted sum the highest code under each positive weight and the lowest under each
    negative one; for sums and maxima over windows the extreme input itself; for a function of
    two tensors that is affine in each, the four corners. Positions where a kernel lies over the
    border are taken apart, because padding holds the zero point, on the grid or not.
    """
    rules = (_RULES[kind] for kind in type(facts.op).__mro__ if kind in _RULES)
    rule = next(rules, None)
    return None if rule is None else rule(facts)


def _pool(facts: LayerFacts) -> Bounds:
    op = facts.op
    assert isinstance(op, AveragePool | MaxPool | Unfold)
    x = facts.operands[0]
    assert isinstance(x, Tensor)
    shape = (1, 1, *(size or 1 for size in facts.shapes[0][2:]))

    def reach(interval: Interval) -> ChannelRange:
        made = [op.accumulate(_filled(x, code, shape), output=None) for code in interval]
        return _of_values(made, facts.channels)

    return Bounds(reach(grid_codes(x)), reach(arriving(x)))


def _reduction(facts: LayerFacts) -> Bounds:
    op = facts.op
    assert isinstance(op, ReduceSum | ReduceMean | GlobalAveragePool)
    x, rest = facts.operands[0], facts.operands[1:]
    assert isinstance(x, Tensor)
    one, many = (
        tuple(count if size is None else size for size in facts.shapes[0])
        for count in (1, facts.rows)
    )

    def sums(code: int, shape: tuple[int, ...]) -> Codes:
        return op.accumulate(_filled(x, code, shape), *rest, output=None)

    def reach(interval: Interval, shape: tuple[int, ...]) -> ChannelRange:
        return _of_values([sums(code, shape) for code in interval], facts.channels)

    def shifted(found: ChannelRange, shape: tuple[int, ...]) -> ChannelRange:
        offset = op.rounding_offset(_filled(x, 0, shape), *rest)
        return ChannelRange.of(*(end + offset for end in found.range), channels=found.channels)

    exact = bool(sums(1, one).max() == sums(1, many).max())
    shape = one if exact else many
    weights = reach(arriving(x), shape)
    parts = (Part("shifted sum", shifted(weights, shape)),) if has_zero_point(x) else ()
    return Bounds(reach(grid_codes(x), shape), weights, parts, exact=exact)


def _sum(facts: LayerFacts) -> Bounds:
    a, b = factors(facts)
    zeros = [int(np.asarray(t.quantizer.zero_point)) for t in (a, b)]
    terms = (
        ("first term", _corners(facts, arriving(a), (zeros[1], zeros[1]))),
        ("second term", _corners(facts, (zeros[0], zeros[0]), arriving(b))),
    )
    return Bounds(
        _corners(facts, grid_codes(a), grid_codes(b)),
        _corners(facts, arriving(a), arriving(b)),
        tuple(Part(name, found) for name, found in terms),
    )


def _mul(facts: LayerFacts) -> Bounds:
    a, b = factors(facts)
    assert isinstance(facts.op, Mul)
    ends = (
        kernels.round_low_bits(np.array(arriving(x)), lsbs)
        for x, lsbs in zip((a, b), facts.op.factor_lsbs, strict=True)
    )
    first, second = ((int(low), int(high)) for low, high in ends)
    parts = _terms_of_a_product(facts, a, b, first, second) if has_zero_point(a, b) else ()
    return Bounds(
        _corners(facts, grid_codes(a), grid_codes(b)),
        _corners(facts, arriving(a), arriving(b)),
        parts,
    )


def _terms_of_a_product(
    facts: LayerFacts, a: Tensor, b: Tensor, first: Interval, second: Interval
) -> tuple[Part, ...]:
    """Return the terms of ``a*b - za*b - zb*a``, of factors that take the codes given."""
    (za, zb), one = (int(np.asarray(x.quantizer.zero_point)) for x in (a, b)), facts.channels
    centred = (first[0] - za, first[1] - za)
    whole = sum_of_products(centred, (second[0] - zb, second[1] - zb), 1, one)
    step = 2**facts.layer.lsbs_to_remove  # rounding moves it by half of that at most
    parts = (
        Part("product", sum_of_products(first, second, 1, one)),
        Part("first zero-point term", sum_of_products((za, za), second, 1, one)),
        Part("centred product", sum_of_products(centred, second, 1, one)),
        Part("second zero-point term", sum_of_products((zb, zb), first, 1, one)),
    )
    if facts.leaves:
        return parts
    low, high = whole.range
    slack = step // 2
    return (*parts, Part("whole product", ChannelRange.of(low - slack, high + slack, channels=one)))


def _div(facts: LayerFacts) -> Bounds:
    op = facts.op
    assert isinstance(op, Div)
    a, b = factors(facts)
    assert op.inverse is not None
    grid = grid_codes(b)
    whole = max(grid[1], arriving(b)[1]) - min(grid[0], arriving(b)[0]) < _ALL_CODES
    if whole:
        return Bounds(
            _corners(facts, grid_codes(a), grid, every=True),
            _corners(facts, arriving(a), arriving(b), every=True),
        )
    za, zv = (int(np.asarray(q.zero_point)) for q in (a.quantizer, op.inverse))
    inverse = (op.inverse.qmin - zv, op.inverse.qmax - zv)
    found = [
        sum_of_products((low - za, high - za), inverse, 1).range
        for low, high in (grid_codes(a), arriving(a))
    ]
    types, weights = (ChannelRange.of(low + za * zv, high + za * zv) for low, high in found)
    return Bounds(types, weights, exact=False)


def _corners(facts: LayerFacts, a: Interval, b: Interval, *, every: bool = False) -> ChannelRange:
    """Run a function of two tensors on the ends of `a` and of `b`, or on every code of `b`."""
    codes_b = range(b[0], b[1] + 1) if every else b
    pairs = np.array(list(itertools.product(a, codes_b)), dtype=np.int64)
    first, second = factors(facts)
    made = facts.op.accumulate(
        Tensor(first.quantizer, codes=pairs[:, 0]),
        Tensor(second.quantizer, codes=pairs[:, 1]),
        output=facts.layer.output_grid(),
    )
    return _of_values([made], facts.channels)


def _filled(x: Tensor, code: int, shape: tuple[int, ...]) -> Tensor:
    kind = x.codes.dtype if x.codes.dtype.kind == "f" else np.int64
    return Tensor(x.quantizer, codes=np.broadcast_to(np.array(code, dtype=kind), shape))


def _of_values(made: list[Codes], channels: int) -> ChannelRange:
    return ChannelRange.of(
        min(int(part.min()) for part in made),
        max(int(part.max()) for part in made),
        channels=channels,
    )


_RULES: dict[type, Callable[[LayerFacts], Bounds]] = {
    Gemm: matrix_product,
    Conv: convolution,
    AveragePool: _pool,
    MaxPool: _pool,
    Unfold: _pool,
    ConvTranspose: transposed_convolution,
    ReduceSum: _reduction,
    ReduceMean: _reduction,
    GlobalAveragePool: _reduction,
    Add: _sum,
    Mul: _mul,
    Div: _div,
}
"""What bounds each kind of operator; a class stands for its subclasses too."""
