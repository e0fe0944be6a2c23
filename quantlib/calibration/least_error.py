"""The range whose grid has the smallest L^p error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.params import DEGENERATE_RANGE, UniformQuantizationParameters

if TYPE_CHECKING:
    from quantlib.arrays import FloatArray
    from quantlib.calibration.mass import Distribution
    from quantlib.core.options import QuantizationOptions
    from quantlib.core.stats import MinMaxQuantizationStats

_COARSE = 2.0 ** -(np.arange(25) / 2)
"""Shrink factors of the first look: 1 down to 1/4096, by square roots of 2."""

_STARTS = 6
_ROUNDS = 7

_TOLERANCE = 1e-3
"""Relative error that an end at its extreme may cost."""


def lp_range(
    coarse: Distribution,
    fine: Distribution,
    extremes: MinMaxQuantizationStats,
    options: QuantizationOptions,
    p: float,
) -> tuple[float, float]:
    """Return the range within the extremes whose grid has the smallest mean ``abs(x - x̂)**p``.

    Parameters
    ----------
    coarse, fine : Distribution
        The tensor for the first look and for the decision; the same one is allowed.
    extremes : MinMaxQuantizationStats
        Exact extremes; their dtype (at least float32) is that of the candidates.
    options : QuantizationOptions
        The grid; each candidate is judged with the scale and zero point it would have.
    p : float
        Exponent.

    Notes
    -----
    Candidates shrink the distances of the two ends from the median by factors: a grid of factors
    first, then ever finer steps around the best six. A symmetric grid has one factor, of the
    largest magnitude. The rounded zero point makes the error jump where the width is small, hence
    the search over a grid and not along a slope. The full range is among the candidates; an end
    stays at its extreme if that costs less than 0.1 % of the error.
    """
    low, high = float(extremes.rmin), float(extremes.rmax)
    dtype = np.result_type(extremes.rmin, np.float32)
    centre = 0.0 if options.is_symmetric else fine.quantile(0.5)
    reach = np.array([centre - low, high - centre])
    if options.is_symmetric:
        reach[:] = max(-low, high)

    def ranges(factors: FloatArray) -> FloatArray:
        ends = centre + factors * reach * (-1.0, 1.0)
        bounded: FloatArray = np.clip(ends, low, high).astype(dtype)
        return bounded

    def errors(factors: FloatArray, distribution: Distribution) -> FloatArray:
        return _range_errors(ranges(factors), distribution, options, p)

    factors = _combinations(_COARSE, reach, joint=options.is_symmetric)
    found = errors(factors, coarse)
    best = factors[np.argsort(found, kind="stable")[:_STARTS]]
    step = np.sqrt(2.0)
    for _ in range(_ROUNDS):
        step = np.sqrt(step)
        around = _combinations(step ** np.arange(-2.0, 3.0), reach, joint=options.is_symmetric)
        factors = np.unique(np.minimum(best[:, None] * around, 1.0).reshape(-1, 2), axis=0)
        found = errors(factors, coarse)
        best = factors[np.argsort(found, kind="stable")[:_STARTS]]
    factors = np.maximum(best, np.array([[[1, 1]], [[1, 0]], [[0, 1]], [[0, 0]]]))
    factors = factors.reshape(-1, 2)
    found = errors(factors, fine)
    winner = ranges(factors)[int(np.argmax(found <= found.min() * (1 + _TOLERANCE)))]
    return float(winner[0]), float(winner[1])


def _combinations(factors: FloatArray, reach: FloatArray, *, joint: bool) -> FloatArray:
    """Return pairs of factors, (pairs, 2); an end without reach has the factor 1 only."""
    if joint:
        return np.stack([factors, factors], axis=1)
    one = np.ones(1)
    lows, highs = (factors if distance > 0 else one for distance in reach)
    return np.stack(np.meshgrid(lows, highs, indexing="ij"), axis=-1).reshape(-1, 2)


def grids(ranges: FloatArray, options: QuantizationOptions) -> tuple[FloatArray, FloatArray]:
    """Return the scales and zero points of many ranges at once.

    Parameters
    ----------
    ranges : float32 or float64 array, (ranges, 2)
        Lower and upper ends, at least 1e-6 apart.
    options : QuantizationOptions
        The grid.

    Returns
    -------
    scales, zero_points : float64 array, (ranges,)
        Bit for bit those of `UniformQuantizationParameters.from_stats`.
    """
    params = UniformQuantizationParameters.per_channel(options, ranges[:, 0], ranges[:, 1])
    scales, zeros = np.asarray(params.scale), np.asarray(params.zero_point, dtype=np.float64)
    return scales, np.zeros_like(zeros) if options.is_qat else zeros


def _range_errors(
    ranges: FloatArray, distribution: Distribution, options: QuantizationOptions, p: float
) -> FloatArray:
    """Return the error of each range, (ranges,); infinite where it is one constant."""
    errors = np.full(len(ranges), np.inf)
    wide = np.flatnonzero(ranges[:, 1] - ranges[:, 0] >= DEGENERATE_RANGE)
    if wide.size:
        scales, zeros = grids(ranges[wide], options)
        errors[wide] = distribution.grid_errors(scales, zeros, options.qmin, options.qmax, p)
    return errors
