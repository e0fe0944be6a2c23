"""What types and weights let an accumulator become: exact bounds without data."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from quantlib.analysis.facts import grid_range
from quantlib.analysis.linear_forms import LinearForm, of_convolution, of_matrix
from quantlib.analysis.ranges import ChannelRange, exact_kind
from quantlib.core.tensor import Tensor
from quantlib.ops.arithmetic import Add, Div, Mul
from quantlib.ops.conv import Conv
from quantlib.ops.linear import Gemm
from quantlib.ops.pooling import AveragePool, MaxPool
from quantlib.ops.reduction import GlobalAveragePool, ReduceMean, ReduceSum

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantlib.analysis.facts import LayerFacts
    from quantlib.arrays import AnyArray, Codes

Interval: TypeAlias = tuple[int, int]

_ALL_CODES = 2**16
"""A divisor's grid of up to this many codes is tried code by code."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """An integer that is computed on the way to the accumulator.

    Parameters
    ----------
    name : str
        ``"product"`` of codes and weight codes, ``"input sum"``, ``"zero-point term"`` (the
        input sum times minus the weights' zero point), ``"first term"`` and ``"second term"``.
    weights : ChannelRange
        What the actual weights allow.
    """

    name: str
    weights: ChannelRange


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """The range of one accumulator.

    Parameters
    ----------
    types : ChannelRange
        Every code of the inputs' grids with every code of the weights' grid.
    weights : ChannelRange
        Every code that can arrive, with the actual weights.
    parts : tuple of Part
        Intermediate integers that may be wider than the accumulator.
    exact : bool
        Whether an input attains `weights`; False where an axis of unknown size is summed.
    """

    types: ChannelRange
    weights: ChannelRange
    parts: tuple[Part, ...] = ()
    exact: bool = True


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
    assert isinstance(facts.op, Gemm)
    first = 0 in facts.layer.constants
    return of_matrix(facts.op, weights.codes if first else weights.centred(), first=first)


def _gemm(facts: LayerFacts) -> Bounds:
    op = facts.op
    assert isinstance(op, Gemm)
    a, b = facts.operands[0], facts.operands[1]
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    fan_in = facts.shapes[0][0 if op.transA else -1]
    if fan_in is None:
        fan_in = facts.shapes[1][-1 if op.transB else -2]
    known, fan_in = fan_in is not None, fan_in or facts.rows
    parts: tuple[Part, ...] = ()
    if 1 in facts.layer.constants:
        low, high = _arriving(a)
        form = linear_form(facts, b)
        types = _typed(_grid(a), b, weight_zero_points(b, 0 if op.transB else -1), fan_in)
        if np.any(b.quantizer.zero_point):
            raw = of_matrix(op, b.codes, first=False)
            zero_points = weight_zero_points(b, 0 if op.transB else -1)
            sums = ChannelRange.of(fan_in * low, fan_in * high)
            parts = _split(raw.extremes(low, high, 0), sums, zero_points)
        return Bounds(types, form.extremes(low, high, 0), parts)
    zero_point = int(np.asarray(b.quantizer.zero_point))
    shifted = tuple(code - zero_point for code in _arriving(b))
    factor = tuple(code - zero_point for code in _grid(b))
    if 0 in facts.layer.constants:
        form = linear_form(facts, a)
        types = _product(_grid(a), (factor[0], factor[1]), fan_in)
        return Bounds(types, form.extremes(shifted[0], shifted[1], 0))
    types = _product(_grid(a), (factor[0], factor[1]), fan_in)
    weights = _product(_arriving(a), (shifted[0], shifted[1]), fan_in)
    low, high = _arriving(a)
    if zero_point:
        sums = ChannelRange.of(fan_in * low, fan_in * high)
        raw_product = _product(_arriving(a), _arriving(b), fan_in)
        parts = _split(raw_product, sums, np.array([zero_point]))
    return Bounds(types, weights, parts, exact=known)


def _conv(facts: LayerFacts) -> Bounds:
    op = facts.op
    assert isinstance(op, Conv)
    x, w = facts.operands[0], facts.operands[1]
    assert isinstance(x, Tensor) and isinstance(w, Tensor)
    spatial = facts.shapes[0][2:]
    fill = int(np.asarray(x.quantizer.zero_point))
    low, high = _arriving(x)
    form = linear_form(facts, w)
    zero_points = weight_zero_points(w, 0)
    grid = _grid(x)
    if form.is_padded:
        grid = min(grid[0], fill), max(grid[1], fill)
    types = _typed(grid, w, zero_points, op.fan_in(w.shape))
    parts: tuple[Part, ...] = ()
    if np.any(zero_points):
        raw = of_convolution(op, w.codes, spatial).extremes(low, high, fill)
        ones = of_convolution(op, np.ones((1, *w.shape[1:])), spatial)
        parts = _split(raw, ones.extremes(low, high, fill), zero_points)
    known = all(size is not None for size in spatial)
    return Bounds(types, form.extremes(low, high, fill), parts, exact=known)


def _pool(facts: LayerFacts) -> Bounds:
    op = facts.op
    assert isinstance(op, AveragePool | MaxPool)
    x = facts.operands[0]
    assert isinstance(x, Tensor)
    shape = (1, 1, *(size or 1 for size in facts.shapes[0][2:]))
    known = all(size is not None for size in facts.shapes[0][2:])

    def reach(interval: Interval) -> ChannelRange:
        made = [op.accumulate(_filled(x, code, shape), output=None) for code in interval]
        return _of_values(made, facts.channels)

    return Bounds(reach(_grid(x)), reach(_arriving(x)), exact=known)


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
        return op.accumulate(_filled(x, code, shape), *rest, output=None)  # type: ignore[arg-type]

    def reach(interval: Interval, shape: tuple[int, ...]) -> ChannelRange:
        return _of_values([sums(code, shape) for code in interval], facts.channels)

    exact = bool(sums(1, one).max() == sums(1, many).max())
    shape = one if exact else many
    return Bounds(reach(_grid(x), shape), reach(_arriving(x), shape), exact=exact)


def _sum(facts: LayerFacts) -> Bounds:
    a, b = facts.operands[0], facts.operands[1]
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    zeros = [int(np.asarray(t.quantizer.zero_point)) for t in (a, b)]
    terms = (
        ("first term", _corners(facts, _arriving(a), (zeros[1], zeros[1]))),
        ("second term", _corners(facts, (zeros[0], zeros[0]), _arriving(b))),
    )
    return Bounds(
        _corners(facts, _grid(a), _grid(b)),
        _corners(facts, _arriving(a), _arriving(b)),
        tuple(Part(name, found) for name, found in terms),
    )


def _mul(facts: LayerFacts) -> Bounds:
    a, b = facts.operands[0], facts.operands[1]
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    product = _product(_arriving(a), _arriving(b), 1)
    parts = (Part("product", product),) if _has_zero_point(a, b) else ()
    return Bounds(
        _corners(facts, _grid(a), _grid(b)), _corners(facts, _arriving(a), _arriving(b)), parts
    )


def _div(facts: LayerFacts) -> Bounds:
    op = facts.op
    assert isinstance(op, Div)
    a, b = facts.operands[0], facts.operands[1]
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    assert op.inverse is not None
    grid = _grid(b)
    whole = max(grid[1], _arriving(b)[1]) - min(grid[0], _arriving(b)[0]) < _ALL_CODES
    if whole:
        return Bounds(
            _corners(facts, _grid(a), grid, every=True),
            _corners(facts, _arriving(a), _arriving(b), every=True),
        )
    za, zv = (int(np.asarray(q.zero_point)) for q in (a.quantizer, op.inverse))
    inverse = (op.inverse.qmin - zv, op.inverse.qmax - zv)
    found = [
        _product((low - za, high - za), inverse, 1).range for low, high in (_grid(a), _arriving(a))
    ]
    types, weights = (ChannelRange.of(low + za * zv, high + za * zv) for low, high in found)
    return Bounds(types, weights, exact=False)


def _corners(facts: LayerFacts, a: Interval, b: Interval, *, every: bool = False) -> ChannelRange:
    """Run a function of two tensors on the ends of `a` and of `b`, or on every code of `b`."""
    codes_b = range(b[0], b[1] + 1) if every else b
    pairs = np.array(list(itertools.product(a, codes_b)), dtype=np.int64)
    first, second = facts.operands[0], facts.operands[1]
    assert isinstance(first, Tensor) and isinstance(second, Tensor)
    made = facts.op.accumulate(
        Tensor(first.quantizer, codes=pairs[:, 0]),
        Tensor(second.quantizer, codes=pairs[:, 1]),
        output=facts.layer.output_grid(),
    )
    return _of_values([made], facts.channels)


def _typed(grid: Interval, w: Tensor, zero_points: AnyArray, fan_in: int) -> ChannelRange:
    """Return the range of `fan_in` products of any code with any weight code, per channel."""
    low, high = w.quantizer.qmin, w.quantizer.qmax
    found = {
        int(z): _product(grid, (low - int(z), high - int(z)), fan_in).range
        for z in np.unique(zero_points)
    }
    lows, highs = zip(*(found[int(z)] for z in zero_points), strict=True)
    return ChannelRange(_packed(lows), _packed(highs))


def _packed(values: tuple[int, ...]) -> AnyArray:
    return np.array(values, dtype=exact_kind(max(map(abs, values))))


def _product(a: Interval, b: Interval, count: int) -> ChannelRange:
    """Return the range of a sum of `count` products of two free integers."""
    corners = [x * y for x in a for y in b]
    return ChannelRange.of(count * min(corners), count * max(corners))


def _split(product: ChannelRange, sums: ChannelRange, zero_points: AnyArray) -> tuple[Part, ...]:
    """Return the three parts of ``x @ w + (-zero_point) * sum(x)``."""
    low, high = sums.range
    ends = [(low * -int(z), high * -int(z)) for z in zero_points]
    term = ChannelRange(
        _packed(tuple(min(pair) for pair in ends)), _packed(tuple(max(pair) for pair in ends))
    )
    return Part("product", product), Part("input sum", sums), Part("zero-point term", term)


def _arriving(x: Tensor) -> Interval:
    """Return the smallest and the largest code of a tensor."""
    return int(x.codes.min()), int(x.codes.max())


def _grid(x: Tensor) -> Interval:
    return grid_range(x.quantizer, x.codes)


def weight_zero_points(w: Tensor, axis: int) -> AnyArray:
    """Return the weights' zero point of each output channel, which lie along `axis`."""
    codes, centred = (
        np.moveaxis(part, axis, 0).reshape(part.shape[axis], -1)[:, 0]
        for part in (w.codes, w.centred())
    )
    return np.asarray(np.rint(codes - centred), dtype=np.int64)


def _filled(x: Tensor, code: int, shape: tuple[int, ...]) -> Tensor:
    kind = x.codes.dtype if x.codes.dtype.kind == "f" else np.int64
    return Tensor(x.quantizer, codes=np.broadcast_to(np.array(code, dtype=kind), shape))


def _has_zero_point(*tensors: Tensor) -> bool:
    return any(bool(np.any(t.quantizer.zero_point)) for t in tensors)


def _of_values(made: list[Codes], channels: int) -> ChannelRange:
    return ChannelRange.of(
        min(int(part.min()) for part in made),
        max(int(part.max()) for part in made),
        channels=channels,
    )


_RULES: dict[type, Callable[[LayerFacts], Bounds]] = {
    Gemm: _gemm,
    Conv: _conv,
    AveragePool: _pool,
    MaxPool: _pool,
    ReduceSum: _reduction,
    ReduceMean: _reduction,
    GlobalAveragePool: _reduction,
    Add: _sum,
    Mul: _mul,
    Div: _div,
}
"""What bounds each kind of operator; a class stands for its subclasses too."""
