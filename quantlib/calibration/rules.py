"""How each estimator turns what is measured into a range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.calibration import aciq
from quantlib.calibration.entropy_window import entropy_window
from quantlib.calibration.least_error import lp_range
from quantlib.calibration.mass import Distribution

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray
    from quantlib.calibration.statistics import TensorStatistics
    from quantlib.core.options import QuantizationOptions

Ends = tuple[float, float]

_COARSE_BINS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A tensor to estimate a range of.

    Parameters
    ----------
    statistics : TensorStatistics
        What was measured.
    options : QuantizationOptions
        The grid.
    values : array or None
        The values themselves where they are at hand; distributions are then exact.
    """

    statistics: TensorStatistics
    options: QuantizationOptions
    values: AnyArray | None = None

    def distribution(self, *, magnitudes: bool = False) -> Distribution:
        """Return the distribution of the values, or of their magnitudes."""
        if self.values is not None:
            return Distribution.from_values(self.values, magnitudes=magnitudes)
        return Distribution.from_statistics(self.statistics, magnitudes=magnitudes)


def min_max(tensor: Measured, _: float) -> Ends:
    """Return the extremes."""
    extremes = tensor.statistics.extremes
    return float(extremes.rmin), float(extremes.rmax)


def moving_average(tensor: Measured, _: float) -> Ends:
    """Return the moving averages of the samples' extremes.

    Notes
    -----
    Jacob et al. 2018, arXiv:1712.05877, section 3.1; the constant 0.01 is that of PyTorch's
    ``MovingAverageMinMaxObserver``, which updates once per batch, this one once per sample.
    """
    samples = tensor.statistics.samples
    return samples.moving_min, samples.moving_max


def sample_mean(tensor: Measured, _: float) -> Ends:
    """Return the means of the samples' minima and maxima.

    Notes
    -----
    The aggregator MEAN over the per-sample MIN and MAX of NNCF's ``RangeEstimatorParameters``.
    """
    samples = tensor.statistics.samples
    return samples.mean_min, samples.mean_max


def percentile(tensor: Measured, percent: float) -> Ends:
    """Return the ends between which `percent` of the values lie.

    Notes
    -----
    Affine: ``(100 - percent) / 2`` percent of the values are cut at each end. Symmetric: the
    percentile of ``abs(x)``. Wu et al. 2020, arXiv:2004.09602; ONNX Runtime's
    ``PercentileCalibrater`` returns the lower edge of the bin in which the quantile falls, here
    it is interpolated in the bin.
    """
    share = percent / 100.0
    if tensor.options.is_symmetric:
        reach = tensor.distribution(magnitudes=True).quantile(share)
        return -reach, reach
    distribution = tensor.distribution()
    cut = (1.0 - share) / 2.0
    return distribution.quantile(cut), distribution.quantile(1.0 - cut)


def entropy(tensor: Measured, _: float) -> Ends:
    """Return the range of the histogram window with the smallest divergence.

    Notes
    -----
    Migacz, *8-bit inference with TensorRT*, GTC 2017; see `window_divergences`. The grid has
    ``2**n_bits`` levels; windows of values grow around the bin of the median, windows of
    ``abs(x)`` (symmetric, ``2**(n_bits - 1)`` levels) from 0.

    A window has to be wider than its grid, in bins, or there is nothing to choose. So nothing is
    clipped where ``2**n_bits`` reaches the number of bins: with 2048 bins, from 11 bits on. ONNX
    Runtime's ``EntropyCalibrater`` has 128 bins and 128 quantized bins by default, hence one
    candidate for data in one batch, the full range. A later batch that reaches further adds bins
    of the first batch's width on both sides; with more bins than quantized ones it clips too.
    """
    options = tensor.options
    histogram = tensor.statistics.histogram
    if options.is_symmetric:
        folded = histogram.folded()
        _, stop = entropy_window(folded.counts, None, 1 << (options.n_bits - 1))
        reach = float(folded.edges[stop])
        return -reach, reach
    median = Distribution.from_statistics(tensor.statistics).quantile(0.5)
    centre = math.floor(median / histogram.width) - histogram.first
    centre = min(max(centre, 0), histogram.counts.size - 1)
    start, stop = entropy_window(histogram.counts, centre, 1 << options.n_bits)
    return float(histogram.edges[start]), float(histogram.edges[stop])


def lp_norm(tensor: Measured, p: float) -> Ends:
    """Return the range whose grid has the smallest mean ``abs(x - x̂)**p``.

    Notes
    -----
    Nahshan et al. 2019, arXiv:1911.07190 (LAPQ); p = 2.4 is the exponent of the range
    search in the programs of BRECQ (Li et al. 2021, arXiv:2102.05426) and QDrop. p = 2 is the
    mean squared error (Choukroun et al. 2019, arXiv:1902.06822). Searched with the very scale and
    zero point the quantizer will have, see `lp_range`.
    """
    statistics = tensor.statistics
    fine = tensor.distribution()
    coarse = fine
    if fine.low.size > _COARSE_BINS:
        bins = statistics.histogram.counts.size
        join = max(0, math.ceil(math.log2(bins / _COARSE_BINS)))
        coarse = Distribution.from_statistics(statistics, join=join)
    return lp_range(coarse, fine, statistics.extremes, tensor.options, p)


def squared_error(tensor: Measured, _: float) -> Ends:
    """Return the range whose grid has the smallest mean squared error.

    Notes
    -----
    Choukroun et al. 2019, arXiv:1902.06822 (OMSE); `lp_norm` with p = 2.
    """
    return lp_norm(tensor, 2.0)


def mean_std(tensor: Measured, k: float) -> Ends:
    """Return mean ± k standard deviations; symmetric grids reach the farther of the two.

    Notes
    -----
    Nagel et al. 2019, arXiv:1906.04721 (DFQ), with k = 6 and the statistics of a batch
    normalization; k = 3 keeps 99.7 % of a Gaussian.
    """
    mean, reach = tensor.statistics.mean, k * tensor.statistics.std
    if tensor.options.is_symmetric:
        reach += abs(mean)
        return -reach, reach
    return mean - reach, mean + reach


def aciq_gauss(tensor: Measured, _: float) -> Ends:
    """Return the analytic clipping range of a Gaussian; see `_aciq`."""
    return _aciq(tensor, "gauss")


def aciq_laplace(tensor: Measured, _: float) -> Ends:
    """Return the analytic clipping range of a Laplacian; see `_aciq`."""
    return _aciq(tensor, "laplace")


def _aciq(tensor: Measured, family: aciq.Family) -> Ends:
    """Return the centre ± threshold times spread.

    Notes
    -----
    Banner et al. 2018, arXiv:1810.05723. The centre is the mean (affine) or 0 (symmetric), the
    spread is the standard deviation or the mean absolute deviation b from that centre. A
    rectified tensor (smallest value 0, and zeros in it; affine grid) is taken as the positive
    half of a distribution around 0: its non-zero values give the spread, and the range from 0 to
    the threshold of ``n_bits + 1`` has the step of a two-sided one of one bit more.
    """
    statistics, options = tensor.statistics, tensor.options
    kept = statistics.count - statistics.zeros
    rectified = not options.is_symmetric and statistics.zeros > 0 and statistics.extremes.rmin == 0
    if rectified and kept == 0:
        return 0.0, 0.0
    centre = 0.0 if rectified or options.is_symmetric else statistics.mean
    if family == "gauss":
        spread = math.sqrt(statistics.variance + (statistics.mean - centre) ** 2)
        spread *= math.sqrt(statistics.count / kept) if rectified else 1.0
    else:
        spread = tensor.distribution().mean_absolute_deviation(centre)
        spread *= statistics.count / kept if rectified else 1.0
    reach = spread * aciq.threshold(family, options.n_bits + int(rectified))
    return (0.0, reach) if rectified else (centre - reach, centre + reach)
