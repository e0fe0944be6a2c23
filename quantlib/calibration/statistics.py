"""What calibration keeps of a tensor: bounded memory, and pieces merge into the whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.calibration.histogram import DEFAULT_BINS, DyadicHistogram
from quantlib.core.stats import MinMaxQuantizationStats, check_finite
from quantlib.errors import TensorError

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray, FloatArray

AVERAGING_CONSTANT = 0.01
"""Weight of a new sample in the moving average."""

_BLOCK = 1 << 16
_MEMORY = 8192
"""Samples that a moving average still knows: 0.99**8192 is below 1e-35."""


@dataclass(frozen=True, slots=True)
class SampleExtremes:
    """Extremes of single samples (axis 0), and their averages over the samples.

    Parameters
    ----------
    n_samples : int
        How many samples.
    sum_min, sum_max : float
        Sums of the samples' minima and maxima, in the tensor's unit.
    first_min, first_max : float
        Extremes of the first sample.
    moving_min, moving_max : float
        Moving averages after the last sample: ``m <- (1 - c) m + c x``, with c = 0.01 and the
        first sample as the initial value.

    Notes
    -----
    A moving average is affine in its initial value, ``m_n = (1 - c)**n m_0 + g``, and g does not
    depend on what came before. With the first sample and the final average kept, g is known, so
    two pieces merge without their samples (exponential moving averages of activation ranges:
    Jacob et al. 2018, arXiv:1712.05877, section 3.1).
    """

    n_samples: int
    sum_min: float
    sum_max: float
    first_min: float
    first_max: float
    moving_min: float
    moving_max: float

    @classmethod
    def measure(cls, minima: FloatArray, maxima: FloatArray) -> SampleExtremes:
        """Measure one or more samples from their minima and maxima, both of shape (samples,)."""
        low, high = minima.astype(np.float64), maxima.astype(np.float64)
        return cls(
            n_samples=low.size,
            sum_min=float(low.sum()),
            sum_max=float(high.sum()),
            first_min=float(low[0]),
            first_max=float(high[0]),
            moving_min=_moving_average(low),
            moving_max=_moving_average(high),
        )

    @property
    def mean_min(self) -> float:
        """Mean of the samples' minima, in the tensor's unit."""
        return self.sum_min / self.n_samples

    @property
    def mean_max(self) -> float:
        """Mean of the samples' maxima, in the tensor's unit."""
        return self.sum_max / self.n_samples

    def merge(self, later: SampleExtremes) -> SampleExtremes:
        """Return the extremes of these samples followed by those of `later`."""
        kept = (1.0 - AVERAGING_CONSTANT) ** later.n_samples
        return SampleExtremes(
            n_samples=self.n_samples + later.n_samples,
            sum_min=self.sum_min + later.sum_min,
            sum_max=self.sum_max + later.sum_max,
            first_min=self.first_min,
            first_max=self.first_max,
            moving_min=later.moving_min + kept * (self.moving_min - later.first_min),
            moving_max=later.moving_max + kept * (self.moving_max - later.first_max),
        )


@dataclass(frozen=True, slots=True, eq=False)
class TensorStatistics:
    """What is measured about a tensor over all batches.

    Parameters
    ----------
    extremes : MinMaxQuantizationStats
        Exact extremes, in the dtype of the data.
    count, zeros : int
        How many values, and how many of them are exactly 0.
    mean, variance : float
        Mean and population variance, float64, in the tensor's unit and its square.
    histogram : DyadicHistogram
        Where the values lie.
    samples : SampleExtremes
        Extremes of single samples (axis 0).
    channel_axis : int or None
        Axis of `channels`, counted as in the measured array.
    channels : tuple of TensorStatistics
        The same of every channel; empty without a channel axis.

    Notes
    -----
    Extremes, counts and histogram of merged pieces equal those of the whole exactly, in any order
    and any size of the pieces; means and variances up to rounding; the moving average up to
    rounding for pieces in their order. Mean and variance merge by Chan, Golub and LeVeque, *The
    American Statistician* 37 (1983), eq. 2.1. Memory: one histogram per tensor and channel.
    """

    extremes: MinMaxQuantizationStats
    count: int
    zeros: int
    mean: float
    variance: float
    histogram: DyadicHistogram
    samples: SampleExtremes
    channel_axis: int | None = None
    channels: tuple[TensorStatistics, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Floating-point dtype of the data; integers count as float64."""
        return self.extremes.rmin.dtype

    @property
    def std(self) -> float:
        """Population standard deviation, in the tensor's unit."""
        return float(np.sqrt(self.variance))

    def merge(self, later: TensorStatistics) -> TensorStatistics:
        """Return the statistics of these values followed by those of `later`.

        Raises
        ------
        TensorError
            Different dtypes, channel axes or numbers of channels.
        OptionsError
            Different limits on the number of bins.
        """
        if self.dtype != later.dtype:
            raise TensorError(
                f"statistics of {self.dtype} and {later.dtype} do not merge; "
                "measure all batches in one dtype."
            )
        if (self.channel_axis, len(self.channels)) != (later.channel_axis, len(later.channels)):
            raise TensorError(
                f"statistics of {len(self.channels)} channels (axis {self.channel_axis}) and "
                f"{len(later.channels)} (axis {later.channel_axis}) do not merge; measure all "
                "batches along one axis of one length."
            )
        together = self.extremes.merge(later.extremes)
        mean, variance = _pooled(
            np.array([self.count, later.count], dtype=np.float64),
            np.array([self.mean, later.mean]),
            np.array([self.variance * self.count, later.variance * later.count]),
        )
        return TensorStatistics(
            extremes=together,
            count=self.count + later.count,
            zeros=self.zeros + later.zeros,
            mean=mean,
            variance=variance,
            histogram=self.histogram.merge(
                later.histogram, float(together.rmin), float(together.rmax)
            ),
            samples=self.samples.merge(later.samples),
            channel_axis=self.channel_axis,
            channels=tuple(a.merge(b) for a, b in zip(self.channels, later.channels, strict=True)),
        )


def measure(
    values: AnyArray, channel_axis: int | None = None, *, max_bins: int = DEFAULT_BINS
) -> TensorStatistics:
    """Measure one batch of a tensor.

    Parameters
    ----------
    values : array, any shape
        The batch, samples along axis 0; a scalar is one sample. Integers count as float64.
    channel_axis : int or None
        Axis to measure separately too. Along axis 0 a channel is one sample.
    max_bins : int
        Limit on the number of bins of a histogram, 2 to 2**20.

    Raises
    ------
    TensorError
        No values, NaN or infinity, a magnitude above 2**500, or no such axis.
    OptionsError
        `max_bins` out of range.
    """
    array = np.asarray(values)
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    check_finite(array)
    whole = _measure_one(array, max_bins, samples_first=True)
    if channel_axis is None:
        return whole
    if not -array.ndim <= channel_axis < array.ndim:
        raise TensorError(
            f"there is no axis {channel_axis} in values of shape {array.shape}; give one from "
            f"{-array.ndim} to {array.ndim - 1}."
        )
    axis = channel_axis % array.ndim
    return replace(
        whole,
        channel_axis=axis,
        channels=tuple(
            _measure_one(channel, max_bins, samples_first=axis != 0)
            for channel in np.moveaxis(array, axis, 0)
        ),
    )


def _measure_one(array: AnyArray, max_bins: int, *, samples_first: bool) -> TensorStatistics:
    """Measure one array of finite floats."""
    rows = array.reshape(array.shape[0] if samples_first and array.ndim else 1, -1)
    minima, maxima = _row_extremes(rows)
    stats = MinMaxQuantizationStats(rmax=maxima.max(), rmin=minima.min())
    histogram = DyadicHistogram.measure(rows, float(stats.rmin), float(stats.rmax), max_bins)
    mean, variance = _mean_and_variance(rows.ravel())
    return TensorStatistics(
        extremes=stats,
        count=rows.size,
        zeros=rows.size - int(np.count_nonzero(rows)),
        mean=mean,
        variance=variance,
        histogram=histogram,
        samples=SampleExtremes.measure(minima, maxima),
    )


def _row_extremes(rows: AnyArray) -> tuple[AnyArray, AnyArray]:
    """Return the minimum and the maximum of every row of a (rows, columns) array."""
    n_rows, n_columns = rows.shape
    if n_columns * 8 >= n_rows:
        return rows.min(axis=1), rows.max(axis=1)
    low, high = rows[:, 0].copy(), rows[:, 0].copy()
    for column in rows.T[1:]:  # long and thin: whole columns at a time
        np.minimum(low, column, out=low)
        np.maximum(high, column, out=high)
    return low, high


def _mean_and_variance(flat: AnyArray) -> tuple[float, float]:
    """Return mean and population variance, two passes per block, blocks pooled."""
    groups = []
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        mean = block.mean()
        block -= mean
        groups.append((block.size, mean, np.dot(block, block)))
    sizes, means, squares = np.array(groups, dtype=np.float64).T
    return _pooled(sizes, means, squares)


def _pooled(counts: FloatArray, means: FloatArray, squares: FloatArray) -> tuple[float, float]:
    """Return mean and variance of groups from their sizes, means and sums of squared deviations."""
    total = counts.sum()
    base = means[0]
    mean = base + np.dot(counts, means - base) / total
    deviation = squares.sum() + np.dot(counts, np.square(means - mean))
    return float(mean), float(deviation / total)


def _moving_average(values: FloatArray) -> float:
    """Return the moving average after the last value; it forgets all but the last 8192."""
    tail = values[-_MEMORY:]
    keep = 1.0 - AVERAGING_CONSTANT
    weights = AVERAGING_CONSTANT * keep ** np.arange(tail.size - 1, -1, -1)
    weights[0] = keep ** (tail.size - 1)
    return float(np.dot(weights, tail))
