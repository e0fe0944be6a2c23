"""From what is measured to a range: how the estimators are applied."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from quantlib.calibration import rules
from quantlib.calibration.statistics import measure
from quantlib.core.params import DEGENERATE_RANGE
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.errors import OptionsError, TensorError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlib.arrays import AnyArray
    from quantlib.calibration.statistics import TensorStatistics
    from quantlib.core.estimator import Estimator
    from quantlib.core.options import QuantizationOptions

MAX_BITS = 16
"""Widest grid for which an error can be told from a histogram."""

RULES: Mapping[str, Callable[[rules.Measured, float], rules.Ends]] = MappingProxyType(
    {
        "min-max": rules.min_max,
        "moving-average": rules.moving_average,
        "sample-mean": rules.sample_mean,
        "percentile": rules.percentile,
        "entropy": rules.entropy,
        "mse": rules.squared_error,
        "lp-norm": rules.lp_norm,
        "mean-std": rules.mean_std,
        "aciq-gauss": rules.aciq_gauss,
        "aciq-laplace": rules.aciq_laplace,
    }
)
"""What each estimator computes: both ends, which may lie outside the extremes."""


def estimate_range(
    estimator: Estimator, statistics: TensorStatistics, options: QuantizationOptions
) -> MinMaxQuantizationStats:
    """Return the range an estimator chooses.

    Parameters
    ----------
    estimator : Estimator
        Which.
    statistics : TensorStatistics
        What was measured.
    options : QuantizationOptions
        The grid; symmetric grids get ranges that are symmetric until they meet an extreme.

    Returns
    -------
    MinMaxQuantizationStats
        Within the exact extremes, in the dtype of the data. The exact extremes themselves if the
        estimate is one constant (below 1e-6 wide) and the data are not: a grid needs a range.

    Raises
    ------
    OptionsError
        The grid is wider than 16 bits and the estimator depends on its width, or has a single
        code.

    Notes
    -----
    Zero need not be inside: the affine grid of `UniformQuantizationParameters` does not ask for
    it. Formulas and sources: `quantlib.calibration.rules`.
    """
    return _estimate(estimator, rules.Measured(statistics, options))


def estimate_channel_ranges(
    estimator: Estimator, values: AnyArray, options: QuantizationOptions, axis: int
) -> tuple[MinMaxQuantizationStats, ...]:
    """Return one range per channel of a constant.

    Parameters
    ----------
    estimator, options
        As for `estimate_range`.
    values : array
        All values, so that percentiles, errors and deviations are those of the values and not of
        a histogram (the entropy estimator is one of histograms by definition).
    axis : int
        Axis of the channels; of weights, that of the outputs.

    Raises
    ------
    TensorError
        No values, NaN or infinity, or no such axis.
    OptionsError
        As for `estimate_range`.
    """
    array = np.asarray(values)
    if not -array.ndim <= axis < array.ndim:
        raise TensorError(
            f"there is no axis {axis} in values of shape {array.shape}; give one from "
            f"{-array.ndim} to {array.ndim - 1}."
        )
    statistics = measure(array, axis)
    return tuple(
        _estimate(estimator, rules.Measured(channel, options, part))
        for channel, part in zip(statistics.channels, np.moveaxis(array, axis, 0), strict=True)
    )


def _estimate(estimator: Estimator, tensor: rules.Measured) -> MinMaxQuantizationStats:
    kind, extremes = estimator.kind, tensor.statistics.extremes
    if kind.uses_width and tensor.options.n_bits > MAX_BITS:
        raise OptionsError(
            f"{estimator.name} judges grids of 1 to {MAX_BITS} bits, this one has "
            f"{tensor.options.n_bits}; use min-max."
        )
    if _is_constant(extremes):
        return extremes
    tensor.options.check_spans()
    ends = RULES[estimator.name](
        tensor, 0.0 if estimator.parameter is None else estimator.parameter
    )
    bounded = np.clip(np.array(ends), float(extremes.rmin), float(extremes.rmax))
    low, high = bounded.astype(extremes.rmin.dtype)
    found = MinMaxQuantizationStats(rmax=high, rmin=low)
    return extremes if _is_constant(found) else found


def _is_constant(stats: MinMaxQuantizationStats) -> bool:
    """Tell whether a grid takes a range for one constant; float16 ends subtract in float32."""
    dtype = np.result_type(stats.rmin, np.float32)
    with np.errstate(over="ignore"):  # infinitely wide is no constant
        return bool(np.subtract(stats.rmax, stats.rmin, dtype=dtype) < DEGENERATE_RANGE)
