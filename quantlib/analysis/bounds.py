"""What types and weights let an accumulator become: exact bounds without data."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from quantlib.analysis.facts import grid_range
from quantlib.analysis.linear_forms import LinearForm, of_convolution, of_matrix, of_transposed
from quantlib.analysis.ranges import ChannelRange, exact_kind
from quantlib.core.tensor import Tensor
from quantlib.ops import kernels
from quantlib.ops.arithmetic import Add, Div, Mul
from quantlib.ops.conv import Conv
from quantlib.ops.conv_transpose import ConvTranspose
from quantlib.ops.linear import Gemm
from quantlib.ops.pooling import AveragePool, MaxPool
from quantlib.ops.reduction import GlobalAveragePool, ReduceMean, ReduceSum
from quantlib.ops.unfold import Unfold

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
        input sum times minus the weights' zero point), ``"first term"`` and ``"second term"`` of
        a sum, ``"shifted sum"`` (a sum of codes less their zero points).
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
    if isinstance(facts.op, ConvTranspose):
        return of_transposed(facts.op, weights.centred(), facts.shapes[0][2:])
    assert isinstance(facts.op, Gemm)
    first = 0 in facts.layer.constants
    return of_matrix(facts.op, weights.codes if first else weights.centred(), first=first)


def _gemm(facts: LayerFacts) -> Bounds:
    if 1 in facts.layer.constants:
        return _codes_times_weights(facts)
    if 0 in facts.layer.constants:
        return _weights_times_codes(facts)
    return _codes_times_codes(facts)


def _codes_times_weights(facts: LayerFacts) -> Bounds:
    op, (a, b) = facts.op, _pair(facts)
    assert isinstance(op, Gemm)
    low, high = _arriving(a)
    fan_in = op.fan_in(b.shape)
    zero_points = weight_zero_points(b, 0 if op.transB else -1)
    parts: tuple[Part, ...] = ()
    if np.any(zero_points):
        product = of_matrix(op, b.codes, first=False).extremes(low, high, 0)
        sums = ChannelRange.of(fan_in * low, fan_in * high)
        parts = _split(product, sums, zero_points)
    types = _typed(_grid(a), b, zero_points, fan_in)
    return Bounds(types, linear_form(facts, b).extremes(low, high, 0), parts)


def _weights_times_codes(facts: LayerFacts) -> Bounds:
    op, (a, b) = facts.op, _pair(facts)
    assert isinstance(op, Gemm)
    fan_in = a.shape[0 if op.transA else -1]
    types = _product(_grid(a), _shifted(_grid(b), b), fan_in)
    weights = linear_form(facts, a).extremes(*_shifted(_arriving(b), b), 0)
    return Bounds(ChannelRange.of(*types.range, channels=weights.channels), weights)


def _codes_times_codes(facts: LayerFacts) -> Bounds:
    op, (a, b) = facts.op, _pair(facts)
    assert isinstance(op, Gemm)
    known = facts.shapes[0][0 if op.transA else -1] or facts.shapes[1][-1 if op.transB else -2]
    fan_in = known or facts.rows
    low, high = _arriving(a)
    zero_point = int(np.asarray(b.quantizer.zero_point))
    parts: tuple[Part, ...] = ()
    if zero_point:
        sums = ChannelRange.of(fan_in * low, fan_in * high)
        product = _product((low, high), _arriving(b), fan_in)
        parts = _split(product, sums, np.array([zero_point]))
    if any(op.factor_lsbs or ()):
        return _rounded_squares(facts, op, fan_in, parts)
    return Bounds(
        _product(_grid(a), _shifted(_grid(b), b), fan_in, facts.channels),
        _product((low, high), _shifted(_arriving(b), b), fan_in, facts.channels),
        parts,
        exact=known is not None,
    )


def _rounded_squares(facts: LayerFacts, op: Gemm, fan_in: int, parts: tuple[Part, ...]) -> Bounds:
    """Return the bounds of a product whose terms are made of two rounded squares.

    A rounded sum is off by half a step at most, so a quarter square of ``s`` is off by
    ``(step * abs(s) + step**2 / 4) / 4`` and what truncation adds.
    """
    a, b = _pair(facts)
    assert op.factor_lsbs is not None

    def reach(first: Interval, second: Interval) -> ChannelRange:
        product = _product(first, _shifted(second, b), fan_in, facts.channels)
        furthest = max(map(abs, first)) + max(map(abs, second))
        slack = sum(2**lsbs * furthest + 4**lsbs + 1 for lsbs in op.factor_lsbs or ())
        low, high = product.range
        return ChannelRange.of(low - fan_in * slack, high + fan_in * slack, channels=facts.channels)

    return Bounds(
        reach(_grid(a), _grid(b)),
        reach(_arriving(a), _arriving(b)),
        tuple(part for part in parts if part.name != "product"),
        exact=False,
    )


def _conv(facts: LayerFacts) -> Bounds:
    op, (x, w) = facts.op, _pair(facts)
    assert isinstance(op, Conv)
    spatial = facts.shapes[0][2:]
    fill = int(np.asarray(x.quantizer.zero_point))
    low, high = _arriving(x)
    zero_points = weight_zero_points(w, 0)
    ones = of_convolution(op, np.ones((1, *w.shape[1:])), spatial)
    grid = _grid(x)
    if np.any(ones.padded):
        grid = min(grid[0], fill), max(grid[1], fill)
    parts: tuple[Part, ...] = ()
    if np.any(zero_points):
        product = of_convolution(op, w.codes, spatial).extremes(low, high, fill)
        parts = _split(product, ones.extremes(low, high, fill), zero_points)
    return Bounds(
        _typed(grid, w, zero_points, op.fan_in(w.shape)),
        linear_form(facts, w).extremes(low, high, fill),
        parts,
    )


def _conv_transpose(facts: LayerFacts) -> Bounds:
    op, (x, w) = facts.op, _pair(facts)
    assert isinstance(op, ConvTranspose)
    zero_points = np.tile(weight_zero_points(w, 1), op.group)
    types = _typed(_shifted(_grid(x), x), w, zero_points, op.fan_in(w.shape))
    # near a border fewer codes are added, down to none
    types = ChannelRange(np.minimum(types.low, 0), np.maximum(types.high, 0))
    return Bounds(types, linear_form(facts, w).extremes(*_shifted(_arriving(x), x), 0))


def _pool(facts: LayerFacts) -> Bounds:
    op = facts.op
    assert isinstance(op, AveragePool | MaxPool | Unfold)
    x = facts.operands[0]
    assert isinstance(x, Tensor)
    shape = (1, 1, *(size or 1 for size in facts.shapes[0][2:]))

    def reach(interval: Interval) -> ChannelRange:
        made = [op.accumulate(_filled(x, code, shape), output=None) for code in interval]
        return _of_values(made, facts.channels)

    return Bounds(reach(_grid(x)), reach(_arriving(x)))


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

    def shifted(found: ChannelRange, shape: tuple[int, ...]) -> ChannelRange:
        offset = op.rounding_offset(_filled(x, 0, shape), *rest)  # type: ignore[arg-type]
        return ChannelRange.of(*(end + offset for end in found.range), channels=found.channels)

    exact = bool(sums(1, one).max() == sums(1, many).max())
    shape = one if exact else many
    weights = reach(_arriving(x), shape)
    parts = (Part("shifted sum", shifted(weights, shape)),) if _has_zero_point(x) else ()
    return Bounds(reach(_grid(x), shape), weights, parts, exact=exact)


def _sum(facts: LayerFacts) -> Bounds:
    a, b = _pair(facts)
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
    a, b = _pair(facts)
    assert isinstance(facts.op, Mul)
    ends = (
        kernels.round_low_bits(np.array(_arriving(x)), lsbs)
        for x, lsbs in zip((a, b), facts.op.factor_lsbs, strict=True)
    )
    first, second = ((int(low), int(high)) for low, high in ends)
    product = _product(first, second, 1, facts.channels)
    parts = (Part("product", product),) if _has_zero_point(a, b) else ()
    return Bounds(
        _corners(facts, _grid(a), _grid(b)), _corners(facts, _arriving(a), _arriving(b)), parts
    )


def _div(facts: LayerFacts) -> Bounds:
    op = facts.op
    assert isinstance(op, Div)
    a, b = _pair(facts)
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
    first, second = _pair(facts)
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


def _product(a: Interval, b: Interval, count: int, channels: int = 1) -> ChannelRange:
    """Return the range of a sum of `count` products of two free integers."""
    corners = [x * y for x in a for y in b]
    return ChannelRange.of(count * min(corners), count * max(corners), channels=channels)


def _pair(facts: LayerFacts) -> tuple[Tensor, Tensor]:
    """Return the first two operands."""
    a, b = facts.operands[:2]
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    return a, b


def _shifted(codes: Interval, x: Tensor) -> Interval:
    """Return codes less the tensor's zero point."""
    zero_point = int(np.asarray(x.quantizer.zero_point))
    return codes[0] - zero_point, codes[1] - zero_point


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
    Unfold: _pool,
    ConvTranspose: _conv_transpose,
    ReduceSum: _reduction,
    ReduceMean: _reduction,
    GlobalAveragePool: _reduction,
    Add: _sum,
    Mul: _mul,
    Div: _div,
}
"""What bounds each kind of operator; a class stands for its subclasses too."""
