"""Questions about accumulator widths: why, what they cost, what fits, what would narrow them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.search import fitting
from quantlib.analysis.widths import cost as costs
from quantlib.analysis.widths.budget import Budget, bit_width_budget
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.feasible import FeasibleRegion, feasible_region
from quantlib.analysis.widths.remedies import RemedyStudy, study_remedies
from quantlib.errors import OptionsError
from quantlib.ops.base import MixingOp
from quantlib.questions.registry import Question, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.analysis.search.fitting import Fit
    from quantlib.analysis.search.search import Progress
    from quantlib.analysis.widths.ranges import ChannelRange
    from quantlib.analysis.widths.targets import Target
    from quantlib.analysis.workbench import Workbench
    from quantlib.arrays import FloatArray, IntArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.execution.layer import QuantizedLayer
    from quantlib.program.view import TableView
    from quantlib.questions.registry import GoOn

BITS = tuple(range(2, 9))
"""Widths of the map of what fits."""


@Question
def budget(bench: Workbench, config: QuantizationConfig) -> Budget:
    """Return the bounds of every accumulator, and what calibration and evaluation data held."""
    return bit_width_budget(bench.module(config), seen=evaluate(bench, config).seen)


@Question
def cost(bench: Workbench, config: QuantizationConfig) -> costs.Cost:
    """Return what the model costs to run on one sample."""
    return costs.cost(bench.module(config), budget(bench, config))


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a table, and where it holds.

    Parameters
    ----------
    channels : tuple of int
        Output channels, or elements of a sample in C order; empty where it holds for all.
    thresholds : tuple of int
        The first accumulator of each new step, ascending.
    values : tuple of int
        The code of each step, one more than thresholds.
    seen : (int, int) or None
        Smallest and largest accumulator that entered it on the data; those of the whole layer
        where they are not told apart.
    """

    channels: tuple[int, ...]
    thresholds: tuple[int, ...]
    values: tuple[int, ...]
    seen: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class LayerTable:
    """A table that a layer's accumulators enter.

    Parameters
    ----------
    view : TableView
        The table.
    by_channel : bool
        Whether its functions are told apart by output channel.
    functions : tuple of Function
        The different ones.
    """

    view: TableView
    by_channel: bool
    functions: tuple[Function, ...]


@dataclass(frozen=True, slots=True)
class LayerTables:
    """The tables that a layer's accumulators enter.

    Parameters
    ----------
    tables : tuple of LayerTable
        One per reader.
    why_none : str
        In a sentence, where there is no table; else empty.
    """

    tables: tuple[LayerTable, ...]
    why_none: str = ""


@Question
def tables(bench: Workbench, config: QuantizationConfig, layer: str) -> LayerTables:
    """Return what the table look-ups of a layer do, and the accumulators seen to enter them."""
    module = bench.module(config)
    try:
        views = module.tables(layer)
    except OptionsError as error:
        return LayerTables((), str(error))
    seen = evaluate(bench, config).seen.get(layer)
    made = next((entry for entry in module.layers if entry.name == layer), None)
    accumulator = None if seen is None else seen.accumulator
    return LayerTables(
        tuple(_table(view, _channel_axes(view, made), accumulator) for view in views)
    )


def _channel_axes(view: TableView, layer: QuantizedLayer | None) -> tuple[int, ...] | None:
    """Return the axis of a sample that counts output channels; None without one."""
    if layer is None or not isinstance(layer.op, MixingOp):
        return None
    rank = len(view.shape) + 1  # the accumulator's, samples first
    axis = layer.channel_axis(rank)
    return None if axis is None else (axis % rank - 1,)


def _table(
    view: TableView, channel_axes: tuple[int, ...] | None, seen: ChannelRange | None
) -> LayerTable:
    by_channel = view.axes == channel_axes
    count = len(view.thresholds)
    rows = np.array(view.rows, dtype=np.int64)
    ends = np.cumsum(np.bincount(rows, minlength=count))
    where = np.split(np.argsort(rows, kind="stable"), ends[:-1])
    apart = by_channel and seen is not None and seen.channels == rows.size
    functions = tuple(
        Function(
            tuple(places.tolist()), thresholds, values, _entered(seen, places if apart else None)
        )
        for places, thresholds, values in zip(where, view.thresholds, view.values, strict=True)
    )
    return LayerTable(view, by_channel, functions)


def _entered(seen: ChannelRange | None, channels: IntArray | None) -> tuple[int, int] | None:
    """Return the range of some channels together, or of all."""
    if seen is None or channels is None:
        return None if seen is None else seen.range
    return int(seen.low[channels].min()), int(seen.high[channels].max())


@Question
def remedies(
    bench: Workbench, config: QuantizationConfig, layer: str, criterion: Criterion
) -> RemedyStudy | None:
    """Return what would bring a layer within the limit, measured where the model is quick.

    None for an operator without a rule.
    """
    try:
        return study_remedies(bench, config, layer, criterion=criterion)
    except OptionsError:
        return None


@Question
def verified(
    bench: Workbench, config: QuantizationConfig, layer: str, criterion: Criterion
) -> RemedyStudy:
    """Return the same measured, however long one configuration takes."""
    return study_remedies(bench, config, layer, criterion=criterion, at_once_s=math.inf)


@Stream
def make_fit(
    bench: Workbench,
    go_on: GoOn,
    config: QuantizationConfig,
    criterion: Criterion,
    target: Target | None,
) -> Iterator[Progress | Fit]:
    """Find what brings every layer within the limit with the least loss.

    Progress, and at the end the answer; see `quantlib.analysis.search.fitting.make_fit`.
    """
    yield from fitting.make_fit(bench, config, criterion=criterion, target=target, go_on=go_on)


@Question
def region(bench: Workbench, config: QuantizationConfig, layer: str) -> FeasibleRegion | None:
    """Return which widths of a layer keep its accumulator within the limit.

    None where nothing is left to choose: the grids came with the model, or there is no rule.
    """
    layers = evaluate(bench, config).layers
    grids = next((e.input_grid, e.weight_grid) for e in layers if e.name == layer)
    if all(grid is None or grid.is_carried for grid in grids):
        return None
    every = layer_facts(bench.module(config))
    found = next((facts for facts in every if facts.layer.name == layer), None)
    if found is None:
        return None
    return feasible_region(found, config.limit_bits, weight_bits=BITS, activation_bits=BITS)


def at_widths(
    config: QuantizationConfig, layer: str, weight_bits: int, activation_bits: int
) -> QuantizationConfig:
    """Return the configuration in which one layer has other widths."""
    return config.with_override(
        layer,
        config.override(layer).replace(
            weights=config.weights_of(layer).replace(n_bits=weight_bits),
            activations=config.activations_of(layer).replace(n_bits=activation_bits),
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredCells:
    """What the pairs of widths of one layer do, (weight widths, activation widths).

    Parameters
    ----------
    sqnr_db : float64 array
        SQNR of the model, dB; NaN where it is still to be measured.
    seen_bits : int64 array
        Width of the layer's integers that count on the data; 0 where it is still to be measured.
    """

    sqnr_db: FloatArray
    seen_bits: IntArray


@Stream
def measured_region(
    bench: Workbench, go_on: GoOn, config: QuantizationConfig, layer: str
) -> Iterator[MeasuredCells]:
    """Run the model with each pair of widths of one layer; after each, all cells so far."""
    sqnr_db = np.full((len(BITS), len(BITS)), np.nan)
    seen_bits = np.zeros((len(BITS), len(BITS)), dtype=np.int64)
    for i, weight_bits in enumerate(BITS):
        for j, activation_bits in enumerate(BITS):
            if not go_on():
                return
            changed = at_widths(config, layer, weight_bits, activation_bits)
            sqnr_db[i, j] = evaluate(bench, changed).sqnr_db
            seen_bits[i, j] = budget(bench, changed)[layer].counted_bits(Criterion.SEEN)
            yield MeasuredCells(sqnr_db.copy(), seen_bits.copy())
