"""Ranges made to fit a grid's rules: narrow grids, and scales that are powers of two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.params import DEGENERATE_RANGE, UniformQuantizationParameters
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.options import QuantizationOptions


def fitted(
    stats: MinMaxQuantizationStats, options: QuantizationOptions, *, power_of_two: bool
) -> MinMaxQuantizationStats:
    """Widen a range so that the grid `options` lays over it keeps its rules.

    Parameters
    ----------
    stats : MinMaxQuantizationStats
        The range to be covered.
    options : QuantizationOptions
        Width, signs, and whether the lowest code is left out.
    power_of_two : bool
        Whether the scale must be a power of two.

    Returns
    -------
    MinMaxQuantizationStats
        The range as it is where there is nothing to fit.
    """
    affine_narrow = options.is_narrow and not options.is_symmetric
    if not (affine_narrow or power_of_two):
        return stats
    low, high = fitted_channels(
        np.float64(stats.rmin), np.float64(stats.rmax), options, power_of_two=power_of_two
    )
    return MinMaxQuantizationStats(rmax=np.float64(high), rmin=np.float64(low))


def fitted_channels(
    rmin: FloatArray | np.float64,
    rmax: FloatArray | np.float64,
    options: QuantizationOptions,
    *,
    power_of_two: bool,
) -> tuple[AnyArray, AnyArray]:
    """Widen many ranges at once; see `fitted`.

    Notes
    -----
    A narrow affine grid has one step less, so its range gets one step more below. A scale is
    rounded up to the next power of two; the range is then the one whose ends are codes.
    """
    low, high = np.asarray(rmin), np.asarray(rmax)
    if options.is_narrow and not options.is_symmetric:
        if options.n_bits == 1:
            raise OptionsError("a narrow grid needs 2 bits or more.")
        low, high = _with_zero(low, high)
        low = low - (high - low) / (2**options.n_bits - 2)
    if not power_of_two:
        return low, high
    options.check_spans()
    params = UniformQuantizationParameters.per_channel(options, low, high)
    scale = np.exp2(np.ceil(np.log2(params.scale)))
    if options.is_symmetric:
        return -scale * options.qmax, scale * options.qmax
    low, high = _with_zero(low, high)
    lowest = -options.offset
    zero_point = np.rint(lowest - low / scale)
    return scale * (lowest - zero_point), scale * (options.qmax - zero_point)


def _with_zero(low: AnyArray, high: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Extend ranges of one constant to 0: a grid needs a range, and the constant a code."""
    constant = high - low < DEGENERATE_RANGE
    return (
        np.where(constant, np.minimum(low, 0), low),
        np.where(constant, np.maximum(high, 0), high),
    )
