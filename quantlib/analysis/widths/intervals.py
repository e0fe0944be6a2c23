"""Ranges of codes, and what sums and products make of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from quantlib.analysis.widths.ranges import ChannelRange, Part
from quantlib.arrays import exact_kind
from quantlib.core.tensor import Tensor

if TYPE_CHECKING:
    from quantlib.analysis.widths.facts import LayerFacts
    from quantlib.arrays import AnyArray

Interval: TypeAlias = tuple[int, int]
"""Smallest and largest code."""


def sum_of_products(a: Interval, b: Interval, count: int, channels: int = 1) -> ChannelRange:
    """Return the range of a sum of `count` products of two free integers."""
    corners = [x * y for x in a for y in b]
    return ChannelRange.of(count * min(corners), count * max(corners), channels=channels)


def factors(facts: LayerFacts) -> tuple[Tensor, Tensor]:
    """Return the first two operands."""
    a, b = facts.operands[:2]
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    return a, b


def less_zero_point(codes: Interval, x: Tensor) -> Interval:
    """Return codes less the tensor's zero point."""
    zero_point = int(np.asarray(x.quantizer.zero_point))
    return codes[0] - zero_point, codes[1] - zero_point


def split_product(
    product: ChannelRange, sums: ChannelRange, zero_points: AnyArray
) -> tuple[Part, ...]:
    """Return the three parts of ``x @ w + (-zero_point) * sum(x)``."""
    low, high = sums.range
    ends = [(low * -int(z), high * -int(z)) for z in zero_points]
    term = ChannelRange(
        packed(tuple(min(pair) for pair in ends)), packed(tuple(max(pair) for pair in ends))
    )
    return Part("product", product), Part("input sum", sums), Part("zero-point term", term)


def arriving(x: Tensor) -> Interval:
    """Return the smallest and the largest code of a tensor."""
    return int(x.codes.min()), int(x.codes.max())


def grid_codes(x: Tensor) -> Interval:
    """Return the ends of a tensor's grid, and of codes beyond it that arrive nevertheless."""
    low, high = arriving(x)
    return min(x.quantizer.qmin, low), max(x.quantizer.qmax, high)


def typed_range(grid: Interval, w: Tensor, zero_points: AnyArray, fan_in: int) -> ChannelRange:
    """Return the range of `fan_in` products of any code with any weight code, per channel."""
    low, high = w.quantizer.qmin, w.quantizer.qmax
    found = {
        int(z): sum_of_products(grid, (low - int(z), high - int(z)), fan_in).range
        for z in np.unique(zero_points)
    }
    lows, highs = zip(*(found[int(z)] for z in zero_points), strict=True)
    return ChannelRange(packed(lows), packed(highs))


def packed(values: tuple[int, ...]) -> AnyArray:
    """Return Python ints as an array that is exact for them."""
    return np.array(values, dtype=exact_kind(max(map(abs, values))))
