"""Distributions of every tensor, measured once; grids are laid over them afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from quantlib.arrays import read_only
from quantlib.calibration import mass as masses
from quantlib.calibration.estimators import RULES, estimate_range
from quantlib.calibration.statistics import TensorStatistics, measure
from quantlib.core.estimator import Estimator
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.ranges import fitted
from quantlib.errors import OptionsError
from quantlib.execution.treatments import plan
from quantlib.ops.base import WeightedOp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.analysis.float_model import FloatModel
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.options import QuantizationOptions
    from quantlib.core.stats import MinMaxQuantizationStats
    from quantlib.graph.model import Graph

MAX_DISTINCT = 4096
"""Activations of at most this many distinct values (pixels, classes) are kept exactly."""

MAX_DISTINCT_WEIGHTS = 1 << 16
"""The same for weights, which lie in memory anyway."""

_FIRST_LOOK = 1 << 14
_BLOCK = 1 << 16

OUTLIER_RATIO = 2.0
"""A sample whose extreme is this many times that of all others sets the range alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """Extremes of each channel of a tensor.

    Parameters
    ----------
    low, high : float arrays, (channels,)
        In the tensor's unit.
    zero_share : float array, (channels,)
        Share of values that are exactly 0.
    """

    low: FloatArray
    high: FloatArray
    zero_share: FloatArray

    def merge(self, other: Channels, *, share: float) -> Channels:
        """Return the extremes of both; `share` is how much of all values are `other`'s."""
        return Channels(
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            (1 - share) * self.zero_share + share * other.zero_share,
        )

    @property
    def dead(self) -> tuple[int, ...]:
        """Channels that hold one constant only."""
        return tuple(int(i) for i in np.flatnonzero(self.low == self.high))

    def clipped(self, quantizer: UniformQuantizer) -> tuple[int, ...]:
        """Return the channels whose extremes lie outside a grid by more than half a step."""
        if quantizer.is_per_channel:
            return ()
        low, high = sorted(quantizer.dequant(np.array([quantizer.qmin, quantizer.qmax])))
        half = abs(quantizer.quant_params.mean_scale) / 2
        outside = (self.low < low - half) | (self.high > high + half)
        return tuple(int(i) for i in np.flatnonzero(outside))


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """The distinct values of a tensor that has few.

    Parameters
    ----------
    values : float array, (points,)
        Ascending, in the dtype of the data.
    counts : int64 array, (points,)
        How often each occurs.
    """

    values: FloatArray
    counts: AnyArray

    @classmethod
    def of(cls, values: AnyArray, limit: int = MAX_DISTINCT) -> Points | None:
        """Count an array; None where it has more than `limit` distinct values."""
        flat = np.ravel(values)
        if np.unique(flat[:_FIRST_LOOK]).size > limit:
            return None
        found: Points | None = None
        for start in range(0, flat.size, _BLOCK):
            part = cls(*np.unique(flat[start : start + _BLOCK], return_counts=True))
            found = part if found is None else found.merge(part, limit)
            if found is None or found.values.size > limit:
                return None
        return found

    def merge(self, other: Points, limit: int = MAX_DISTINCT) -> Points | None:
        """Return the points of both, None where they are more than `limit`."""
        both = np.concatenate([self.values, other.values])
        values, place = np.unique(both, return_inverse=True)
        if values.size > limit:
            return None
        counts = np.zeros(values.size, dtype=np.int64)
        np.add.at(counts, place.reshape(-1), np.concatenate([self.counts, other.counts]))
        return Points(values, counts)


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """What is known of a tensor's values.

    Parameters
    ----------
    statistics : TensorStatistics
        Extremes, moments, histogram.
    sample_low, sample_high : float arrays, (samples,)
        Extremes of each sample (axis 0); empty for weights.
    channels : Channels or None
        By channel: axis 1 of activations, the output channels of weights.
    points : Points or None
        The values themselves, where they are few; grids are then judged exactly.
    """

    statistics: TensorStatistics
    sample_low: FloatArray
    sample_high: FloatArray
    channels: Channels | None
    points: Points | None = None

    @property
    def edges(self) -> FloatArray:
        """Bin edges, in the tensor's unit."""
        return self.statistics.histogram.edges

    @property
    def counts(self) -> AnyArray:
        """Values per bin."""
        return self.statistics.histogram.counts

    @property
    def extremes(self) -> MinMaxQuantizationStats:
        """Exact range."""
        return self.statistics.extremes

    @property
    def range_setter(self) -> int | None:
        """The one sample that sets the range, by being `OUTLIER_RATIO` times beyond all others."""
        if len(self.sample_low) < 3:
            return None
        reach = np.maximum(np.abs(self.sample_low), np.abs(self.sample_high))
        second, first = np.partition(reach, -2)[-2:]
        return int(np.argmax(reach)) if first > OUTLIER_RATIO * second else None


@dataclass(frozen=True, slots=True)
class GridFit:
    """How a grid fits a tensor alone.

    Parameters
    ----------
    clipped_share : float
        Share of values beyond the ends of the grid by more than half a step, which rounding to
        the nearest code cannot explain.
    zero_share : float
        Share of non-zero values that round to the code of 0.
    used_codes : int or None
        Codes that at least one value maps to. None where the histogram cannot tell, because
        some bin reaches over codes that no other bin decides; `codes_in_use` counts them then.
    sqnr_db : float
        Signal-to-quantization-noise ratio of this tensor alone, dB.
    """

    clipped_share: float
    zero_share: float
    used_codes: int | None
    sqnr_db: float


class RangeOrigin(StrEnum):
    """Where the range of a choice comes from."""

    ESTIMATOR = "estimator"
    """An estimator, on the values that the choice is judged on."""

    OWN = "own range"
    """Given by hand."""

    CURRENT = "current"
    """The grid that runs: its range was measured where the configuration says (`calibrate_on`),
    on the quantized path unless on the float model, so that it may differ from its estimator's."""


@dataclass(frozen=True, slots=True, eq=False)
class RangeChoice:
    """One range for a tensor, and how its grid fits the tensor's values.

    All choices for a tensor are judged on the same values: those of the float model on the
    calibration data, or the weights. Only the range may come from elsewhere.

    Parameters
    ----------
    origin : RangeOrigin
        Where the range comes from.
    estimator : Estimator or None
        Which one, if it comes from an estimator.
    quantizer : UniformQuantizer
        The grid over the range.
    fit : GridFit
        How it fits.
    """

    origin: RangeOrigin
    estimator: Estimator | None
    quantizer: UniformQuantizer
    fit: GridFit


def distribution(values: AnyArray, *, channel_axis: int | None = None) -> Distribution:
    """Measure a constant, weights for example."""
    channels = None
    if channel_axis is not None and values.ndim > 1:
        channels = _channels(values, channel_axis)
    nothing = np.empty(0)
    points = Points.of(values, MAX_DISTINCT_WEIGHTS)
    return Distribution(measure(values), nothing, nothing, channels, points)


def activation_distributions(float_model: FloatModel) -> dict[str, Distribution]:
    """Measure every float tensor of a model: inputs and what nodes produce.

    One pass over the batches; memory grows with the samples by two numbers for each.
    """
    names = [info.name for info in float_model.graph.inputs]
    found: dict[str, Distribution] = {}
    for inputs, batch in float_model.batches():
        for name, values in {**dict(zip(names, inputs, strict=True)), **batch}.items():
            if values.dtype.kind == "f" and values.size and values.ndim:
                part = _of_batch(values)
                found[name] = _merged(found[name], part) if name in found else part
    return found


def _of_batch(values: AnyArray) -> Distribution:
    rows = values.reshape(len(values), -1)
    low, high = (np.asarray(f(axis=1), dtype=np.float64) for f in (rows.min, rows.max))
    channels = _channels(values, 1) if values.ndim > 1 else None
    return Distribution(measure(values), low, high, channels, Points.of(values))


def _merged(first: Distribution, later: Distribution) -> Distribution:
    statistics = first.statistics.merge(later.statistics)
    channels = None
    if first.channels and later.channels and len(first.channels.low) == len(later.channels.low):
        share = later.statistics.count / statistics.count
        channels = first.channels.merge(later.channels, share=share)
    points = first.points.merge(later.points) if first.points and later.points else None
    return Distribution(
        statistics,
        np.concatenate([first.sample_low, later.sample_low]),
        np.concatenate([first.sample_high, later.sample_high]),
        channels,
        points,
    )


def _channels(values: AnyArray, axis: int) -> Channels:
    others = tuple(i for i in range(values.ndim) if i != axis % values.ndim)
    size = values.size // values.shape[axis]
    return Channels(
        read_only(values.min(axis=others)),
        read_only(values.max(axis=others)),
        read_only(1.0 - np.count_nonzero(values, axis=others) / size),
    )


def weight_distributions(graph: Graph) -> dict[str, Distribution]:
    """Measure every floating-point constant of more than one value, by output channel too."""
    axes: dict[str, int | None] = {}
    for node, decided in zip(graph.nodes, plan(graph), strict=True):
        if issubclass(decided.op_class, WeightedOp) and node.inputs[1] in graph.constants:
            op = decided.op_class.from_node(node, graph.opsets)
            axes[node.inputs[1]] = op.channel_axis(graph.constants[node.inputs[1]].shape)
    return {
        name: distribution(values, channel_axis=axes.get(name))
        for name, values in graph.constants.items()
        if values.dtype.kind == "f" and values.size > 1
    }


def grid_fit(measured: Distribution, quantizer: UniformQuantizer) -> GridFit:
    """Lay a grid over a distribution; channels' grids by their mean.

    Notes
    -----
    Exact where the tensor has few distinct values. Else from its histogram, values spread evenly
    in a bin; the outer bins end at the exact extremes, so that a grid that covers these clips
    nothing, and exact zeros lie at 0.
    """
    quantizer = quantizer.averaged()
    if measured.points is not None:
        return _fit_of(measured.points.values, measured.points.counts, quantizer)
    statistics = measured.statistics
    mass = masses.Distribution.from_statistics(statistics)
    low, high = sorted(quantizer.dequant(np.array([quantizer.qmin, quantizer.qmax])).tolist())
    half = abs(quantizer.quant_params.mean_scale) / 2
    steps = np.atleast_1d(quantizer.scale)
    points = np.atleast_1d(quantizer.zero_point).astype(np.float64)
    noise = float(mass.grid_errors(steps, points, quantizer.qmin, quantizer.qmax, 2.0)[0])
    return GridFit(
        clipped_share=1.0 - mass.share_within(low - half, high + half),
        zero_share=_share_at_zero(mass, statistics, low, high, half),
        used_codes=_sure_codes(mass, quantizer),
        sqnr_db=_decibel(statistics.variance + statistics.mean**2, noise),
    )


def _share_at_zero(
    mass: masses.Distribution, statistics: TensorStatistics, low: float, high: float, half: float
) -> float:
    """Return the share of non-zero values that a grid from `low` to `high` takes to real 0."""
    nonzero = statistics.count - statistics.zeros
    if not nonzero or low > half or high < -half:  # no code stands for 0
        return 0.0
    below = -np.inf if low > -half else -half  # values beyond the grid clip to its end
    above = np.inf if high < half else half
    found = mass.share_within(below, above) * statistics.count - statistics.zeros
    return max(0.0, found) / nonzero


def _sure_codes(mass: masses.Distribution, quantizer: UniformQuantizer) -> int | None:
    """Return how many codes are in use, None where the bins leave it open."""
    first, last = (quantizer.quant(ends) for ends in (mass.low, mass.high))
    first, last = np.minimum(first, last), np.maximum(first, last)
    sure = np.unique(first[first == last])
    open_first, open_last = first[first < last], last[first < last]
    held = np.searchsorted(sure, open_last, "right") - np.searchsorted(sure, open_first)
    return int(sure.size) if np.all(held == open_last - open_first + 1) else None


def exact_fit(values: AnyArray, quantizer: UniformQuantizer) -> GridFit:
    """Return how a grid, of a tensor or of each channel, fits the values themselves."""
    return _fit_of(values, np.ones(values.shape, dtype=np.int64), quantizer)


def _fit_of(values: AnyArray, counts: AnyArray, quantizer: UniformQuantizer) -> GridFit:
    """Return how a grid fits values that occur `counts` times each."""
    exact = values.astype(np.float64)
    codes = quantizer.quant(values)
    real = quantizer.dequant(codes)
    half = np.abs(quantizer.scale) / 2
    ends = [quantizer.dequant(np.full_like(codes, q)) for q in (quantizer.qmin, quantizer.qmax)]
    outside = (exact < np.minimum(*ends) - half) | (exact > np.maximum(*ends) + half)
    nonzero = exact != 0
    kept = int(counts[nonzero].sum())
    return GridFit(
        clipped_share=float(counts[outside].sum() / counts.sum()),
        zero_share=float(counts[nonzero & (real == 0)].sum() / kept) if kept else 0.0,
        used_codes=int(np.unique(codes).size),
        sqnr_db=_decibel(
            float(np.sum(counts * np.square(exact))),
            float(np.sum(counts * np.square(exact - real))),
        ),
    )


def _decibel(signal: float, noise: float) -> float:
    """Return a ratio of energies in dB: inf without noise, -inf without signal."""
    if noise == 0.0:
        return float("inf")
    return 10.0 * float(np.log10(signal / noise)) if signal else -float("inf")


def codes_in_use(float_model: FloatModel, grids: Mapping[str, UniformQuantizer]) -> dict[str, int]:
    """Count the codes that the values of float tensors map to, on the values themselves.

    Parameters
    ----------
    float_model : FloatModel
        The float model on some data.
    grids : mapping of str to UniformQuantizer
        Grid by tensor name: of model inputs or of what nodes produce.

    Returns
    -------
    dict of str to int
        Distinct codes by tensor, for those that the data hold.
    """
    names = [info.name for info in float_model.graph.inputs]
    seen: dict[str, AnyArray] = {}
    for inputs, batch in float_model.batches():
        tensors = {**dict(zip(names, inputs, strict=True)), **batch}
        for name, grid in grids.items():
            if name in tensors:
                codes = np.unique(grid.quant(tensors[name]))
                seen[name] = np.union1d(seen[name], codes) if name in seen else codes
    return {name: int(codes.size) for name, codes in seen.items()}


def range_choices(
    measured: Distribution, options: QuantizationOptions, *, power_of_two: bool = False
) -> tuple[RangeChoice, ...]:
    """Return what every estimator makes of a tensor on a grid of these options.

    Estimators that are not defined for the width are left out, and of weights those that work on
    samples.
    """
    choices = []
    for name in RULES:
        estimator = Estimator(name)
        if estimator.kind.needs_samples and not len(measured.sample_low):
            continue
        try:
            stats = estimate_range(estimator, measured.statistics, options)
        except OptionsError:
            continue
        stats = fitted(stats, options, power_of_two=power_of_two)
        quantizer = UniformQuantizer.from_stats(options, stats)
        fit = grid_fit(measured, quantizer)
        choices.append(RangeChoice(RangeOrigin.ESTIMATOR, estimator, quantizer, fit))
    return tuple(choices)


def given_choice(
    measured: Distribution, stats: MinMaxQuantizationStats, options: QuantizationOptions
) -> RangeChoice:
    """Return what a range chosen by hand makes of a tensor."""
    quantizer = UniformQuantizer.from_stats(options, fitted(stats, options, power_of_two=False))
    return RangeChoice(RangeOrigin.OWN, None, quantizer, grid_fit(measured, quantizer))
