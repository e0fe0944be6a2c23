"""How wide an accumulator becomes with the number of products it sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.widths import bit_width, bit_widths
from quantlib.ops.kernels import round_low_bits

if TYPE_CHECKING:
    from quantlib.arrays import IntArray

MAX_FAN_IN = 4096


@dataclass(frozen=True, slots=True)
class Types:
    """Codes of inputs and weights.

    Parameters
    ----------
    x_bits, w_bits : int
        Widths.
    symmetric : bool
        Weights without zero point: signed, from ``-(2**(w-1) - 1)``. Else they are unsigned with
        a zero point in the middle, and the accumulator holds the correction by the inputs' sum.
    """

    x_bits: int
    w_bits: int
    symmetric: bool

    @property
    def top(self) -> int:
        """Largest input code; inputs are unsigned."""
        return (1 << self.x_bits) - 1

    @property
    def weights(self) -> tuple[int, int]:
        """Smallest and largest factor of an input code in the accumulator."""
        if self.symmetric:
            reach = (1 << (self.w_bits - 1)) - 1
            return -reach, reach
        z = 1 << (self.w_bits - 1)
        return -z, (1 << self.w_bits) - 1 - z

    @property
    def raw_weights(self) -> tuple[int, int]:
        """Smallest and largest weight code."""
        return self.weights if self.symmetric else (0, (1 << self.w_bits) - 1)


def type_width(fan_in: int, types: Types, *, raw: bool = False) -> int:
    """Return the width that the types alone ask for, bits.

    Parameters
    ----------
    fan_in : int
        Products that are summed.
    types : Types
        Their codes.
    raw : bool
        Of the products of codes themselves, before the zero point's correction.
    """
    low, high = types.raw_weights if raw else types.weights
    return bit_width(fan_in * types.top * min(low, 0), fan_in * types.top * max(high, 0))


def widest_fan_in(limit_bits: int, types: Types, *, raw: bool = False) -> int:
    """Return the largest number of products whose types fit a limit; 0 where one does not."""
    low, high = 0, 1 << limit_bits
    while low < high:  # widths never fall with the number of products
        middle = (low + high + 1) // 2
        if type_width(middle, types, raw=raw) <= limit_bits:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """Widths by the number of products, bits.

    Parameters
    ----------
    fan_in : int64 array, (n,)
        Numbers of products.
    types, weights, data : int64 arrays, (n,)
        What types allow, what drawn weights allow for any input, what drawn inputs reach.
    """

    fan_in: IntArray
    types: IntArray
    weights: IntArray
    data: IntArray


def growth(types: Types, *, seed: int = 3, samples: int = 64) -> Growth:
    """Draw bell-shaped weights and inputs and follow the accumulator as products are added."""
    rng = np.random.default_rng(seed)
    low, high = types.weights
    bell = rng.standard_normal(MAX_FAN_IN) / 3.0  # a grid over three standard deviations
    w = np.clip(np.rint(bell * max(-low, high)), low, high).astype(np.int64)
    x = rng.integers(0, types.top, size=(samples, MAX_FAN_IN), endpoint=True)
    fan_in = np.unique(np.rint(2 ** np.arange(0, 12.01, 0.25)).astype(np.int64))
    best = np.cumsum(np.where(w > 0, w, 0) * types.top)[fan_in - 1]
    worst = np.cumsum(np.where(w < 0, w, 0) * types.top)[fan_in - 1]
    sums = np.cumsum(x * w, axis=1)[:, fan_in - 1]
    return Growth(
        fan_in,
        np.array([type_width(int(k), types) for k in fan_in]),
        bit_widths(worst, best),
        bit_widths(np.minimum(sums.min(axis=0), 0), np.maximum(sums.max(axis=0), 0)),
    )


def without_low_bits(accumulators: IntArray, removed: int) -> IntArray:
    """Return accumulators as ``rounding_threshold_bits`` leaves them, `removed` bits rounded."""
    return np.asarray(round_low_bits(accumulators, removed), dtype=np.int64)
