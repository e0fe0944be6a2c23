"""A product of two integer vectors, term by term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.arrays import read_only
from quantlib.core.options import QuantizationOptions
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.core.widths import bit_width

if TYPE_CHECKING:
    from quantlib.arrays import FloatArray, IntArray

X_RANGE = (-1.0, 2.0)
W_RANGE = (-1.0, 1.5)
"""Real ranges of the example's input and weights: neither is symmetric."""


@dataclass(frozen=True, slots=True, eq=False)
class IntegerProduct:
    """``sum (q1 - Z1)(q2 - Z2)`` and the four terms it falls into.

    Parameters
    ----------
    x, w : float64 arrays, (K,)
        Real factors.
    x_grid, w_grid : UniformQuantizer
        Their grids.
    q1, q2 : int64 arrays, (K,)
        Their codes.

    Notes
    -----
    Jacob et al. 2018, arXiv:1712.05877, eq. 7:
    ``N Z1 Z2 - Z1 sum q2 - Z2 sum q1 + sum q1 q2``.
    """

    x: FloatArray
    w: FloatArray
    x_grid: UniformQuantizer
    w_grid: UniformQuantizer
    q1: IntArray
    q2: IntArray

    @property
    def zero_points(self) -> tuple[int, int]:
        """Z1 and Z2."""
        z1, z2 = self.x_grid.zero_point, self.w_grid.zero_point
        assert isinstance(z1, int)
        assert isinstance(z2, int)
        return z1, z2

    @property
    def terms(self) -> tuple[int, int, int, int]:
        """The four terms: products, -Z1 times the weights' sum, -Z2 times the inputs', constant."""
        z1, z2 = self.zero_points
        return (
            int(self.q1 @ self.q2),
            -z1 * int(self.q2.sum()),
            -z2 * int(self.q1.sum()),
            len(self.q1) * z1 * z2,
        )

    @property
    def total(self) -> int:
        """The sum of the four terms."""
        return sum(self.terms)

    @property
    def running(self) -> IntArray:
        """The sum of products after each term, (K,)."""
        return np.asarray(np.cumsum(self.q1 * self.q2))

    @property
    def running_accumulator(self) -> IntArray:
        """What an encrypted computation holds after each term: products less Z2 times inputs.

        The other two terms are constants that are added in the clear.
        """
        _, z2 = self.zero_points
        return np.asarray(np.cumsum(self.q1 * (self.q2 - z2)))

    @property
    def result(self) -> float:
        """The real product that the integers stand for."""
        return float(self.x_grid.scale) * float(self.w_grid.scale) * self.total

    @property
    def exact(self) -> float:
        """The product of the reals."""
        return float(self.x @ self.w)


def example(
    n_terms: int, *, x_bits: int, w_bits: int, symmetric: bool, seed: int = 7
) -> IntegerProduct:
    """Return a product of reproducible factors; more terms continue fewer ones.

    Parameters
    ----------
    n_terms : int
        K, at least 1.
    x_bits, w_bits : int
        Widths of both grids.
    symmetric : bool
        Whether weights are signed and symmetric, so that Z2 is 0; else both are unsigned.
    seed : int
        Of the factors.
    """
    rng = np.random.default_rng(seed)
    pairs = rng.uniform((X_RANGE[0], W_RANGE[0]), (X_RANGE[1], W_RANGE[1]), (n_terms, 2))
    x, w = read_only(pairs[:, 0].copy()), read_only(pairs[:, 1].copy())
    x_grid = _grid(X_RANGE, QuantizationOptions(x_bits))
    w_grid = _grid(
        W_RANGE, QuantizationOptions(w_bits, is_signed=symmetric, is_symmetric=symmetric)
    )
    return IntegerProduct(x, w, x_grid, w_grid, x_grid.quant(x), w_grid.quant(w))


def _grid(ends: tuple[float, float], options: QuantizationOptions) -> UniformQuantizer:
    stats = MinMaxQuantizationStats(rmax=np.float64(ends[1]), rmin=np.float64(ends[0]))
    return UniformQuantizer.from_stats(options, stats)


def width_of(values: IntArray) -> int:
    """Return the width of the integer type that holds all values, bits."""
    return bit_width(min(0, int(values.min())), int(values.max()))
