"""Distributions of every tensor, measured once; grids are laid over them afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.arrays import read_only
from quantlib.calibration import mass as masses
from quantlib.calibration.estimators import RULES, estimate_range
from quantlib.calibration.statistics import TensorStatistics, measure
from quantlib.core.estimator import Estimator
from quantlib.core.metrics import sqnr_db
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.ranges import fitted
from quantlib.errors import OptionsError
from quantlib.execution.treatments import plan
from quantlib.ops.base import WeightedOp

if TYPE_CHECKING:
    from quantlib.analysis.float_model import FloatReference
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.options import QuantizationOptions
    from quantlib.core.stats import MinMaxQuantizationStats
    from quantlib.graph.model import Graph

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
    """

    statistics: TensorStatistics
    sample_low: FloatArray
    sample_high: FloatArray
    channels: Channels | None

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


@dataclass(frozen=True, slots=True, eq=False)
class GridFit:
    """How a grid fits a distribution, from the histogram's bins.

    Parameters
    ----------
    clipped_share : float
        Share of values outside the grid's range.
    zero_share : float
        Share of non-zero values that round to the code of 0.
    used_codes : int
        Codes that at least one bin centre maps to.
    sqnr_db : float
        Signal-to-quantization-noise ratio of this tensor alone, values spread evenly in a bin.
        A grid per channel is judged by its mean scale.
    """

    clipped_share: float
    zero_share: float
    used_codes: int
    sqnr_db: float


@dataclass(frozen=True, slots=True, eq=False)
class RangeChoice:
    """One estimator's range for a tensor, and how its grid fits.

    Parameters
    ----------
    estimator : Estimator or None
        Which; None for a range that was given.
    quantizer : UniformQuantizer
        The grid over the range.
    fit : GridFit
        How it fits.
    """

    estimator: Estimator | None
    quantizer: UniformQuantizer
    fit: GridFit


def distribution(values: AnyArray, *, channel_axis: int | None = None) -> Distribution:
    """Measure one array, of weights for example."""
    channels = None
    if channel_axis is not None and values.ndim > 1:
        channels = _channels(values, channel_axis)
    nothing = np.empty(0)
    return Distribution(measure(values), nothing, nothing, channels)


def activation_distributions(reference: FloatReference) -> dict[str, Distribution]:
    """Measure every float tensor of a model: inputs and what nodes produce.

    One pass over the batches; memory grows with the samples by two numbers for each.
    """
    names = [info.name for info in reference.graph.inputs]
    found: dict[str, Distribution] = {}
    for inputs, batch in reference.batches():
        for name, values in {**dict(zip(names, inputs, strict=True)), **batch}.items():
            if values.dtype.kind == "f" and values.size and values.ndim:
                part = _of_batch(values)
                found[name] = _merged(found[name], part) if name in found else part
    return found


def _of_batch(values: AnyArray) -> Distribution:
    rows = values.reshape(len(values), -1)
    low, high = (np.asarray(f(axis=1), dtype=np.float64) for f in (rows.min, rows.max))
    channels = _channels(values, 1) if values.ndim > 1 else None
    return Distribution(measure(values), low, high, channels)


def _merged(first: Distribution, later: Distribution) -> Distribution:
    statistics = first.statistics.merge(later.statistics)
    channels = None
    if first.channels and later.channels and len(first.channels.low) == len(later.channels.low):
        share = later.statistics.count / statistics.count
        channels = first.channels.merge(later.channels, share=share)
    return Distribution(
        statistics,
        np.concatenate([first.sample_low, later.sample_low]),
        np.concatenate([first.sample_high, later.sample_high]),
        channels,
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
    """Lay a grid over a distribution; channels' grids by their mean."""
    quantizer = quantizer.averaged()
    centres = (measured.edges[:-1] + measured.edges[1:]) / 2
    counts, statistics = measured.counts, measured.statistics
    codes = quantizer.quant(centres)
    real = quantizer.dequant(codes)
    low, high = quantizer.dequant(np.array([quantizer.qmin, quantizer.qmax]))
    half = abs(quantizer.quant_params.mean_scale) / 2
    outside = (centres < min(low, high) - half) | (centres > max(low, high) + half)
    nonzero = max(1, statistics.count - statistics.zeros)
    to_zero = counts[np.abs(real) < half].sum() - statistics.zeros
    steps = np.abs(np.atleast_1d(quantizer.scale))
    points = np.atleast_1d(quantizer.zero_point).astype(np.float64)
    mass = masses.Distribution.from_statistics(statistics)
    noise = float(mass.grid_errors(steps, points, quantizer.qmin, quantizer.qmax, 2.0)[0])
    signal = statistics.variance + statistics.mean**2
    ratio = signal / noise if noise else float("inf")
    return GridFit(
        clipped_share=float(counts[outside].sum() / max(1, statistics.count)),
        zero_share=max(0.0, float(to_zero / nonzero)),
        used_codes=int(np.unique(codes[counts > 0]).size),
        sqnr_db=10.0 * float(np.log10(ratio)) if ratio else -float("inf"),
    )


def exact_fit(values: AnyArray, quantizer: UniformQuantizer) -> GridFit:
    """Return how a grid, of a tensor or of each channel, fits the values themselves."""
    exact = values.astype(np.float64)
    codes = quantizer.quant(values)
    real = quantizer.dequant(codes)
    half = np.abs(quantizer.scale) / 2
    ends = [quantizer.dequant(np.full_like(codes, q)) for q in (quantizer.qmin, quantizer.qmax)]
    outside = (exact < np.minimum(*ends) - half) | (exact > np.maximum(*ends) + half)
    nonzero = exact != 0
    return GridFit(
        clipped_share=float(outside.mean()),
        zero_share=float((real[nonzero] == 0).mean()) if nonzero.any() else 0.0,
        used_codes=int(np.unique(codes).size),
        sqnr_db=sqnr_db(exact, real),
    )


def range_choices(
    measured: Distribution, options: QuantizationOptions, *, power_of_two: bool = False
) -> tuple[RangeChoice, ...]:
    """Return what every estimator makes of a tensor on a grid of these options.

    Estimators that are not defined for the width are left out.
    """
    choices = []
    for name in RULES:
        estimator = Estimator(name)
        try:
            stats = estimate_range(estimator, measured.statistics, options)
        except OptionsError:
            continue
        choices.append(_choice(measured, estimator, stats, options, power_of_two=power_of_two))
    return tuple(choices)


def given_choice(
    measured: Distribution, stats: MinMaxQuantizationStats, options: QuantizationOptions
) -> RangeChoice:
    """Return what a range chosen by hand makes of a tensor."""
    return _choice(measured, None, stats, options, power_of_two=False)


def _choice(
    measured: Distribution,
    estimator: Estimator | None,
    stats: MinMaxQuantizationStats,
    options: QuantizationOptions,
    *,
    power_of_two: bool,
) -> RangeChoice:
    stats = fitted(stats, options, power_of_two=power_of_two)
    quantizer = UniformQuantizer.from_stats(options, stats)
    return RangeChoice(estimator, quantizer, grid_fit(measured, quantizer))
