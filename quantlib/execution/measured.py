"""Ranges of tensors, measured piece after piece on the way or elsewhere before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from quantlib.calibration.statistics import TensorStatistics, measure
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.errors import TensorError
from quantlib.execution.calls import calls
from quantlib.execution.float_run import float_batches, float_names
from quantlib.execution.pieces import percentiles_of_pieces
from quantlib.ops.base import FloatOp, Treatment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.execution.layer import QuantizedLayer
    from quantlib.execution.pieces import Kept
    from quantlib.graph.model import Graph

OUTLIER_PERCENTILES = (0.1, 99.9)
"""What BatchNormalization's output range keeps, per cent."""


@dataclass(frozen=True, slots=True)
class FloatRanges:
    """What the float model's tensors hold on the calibration data, by name.

    Parameters
    ----------
    ranges : mapping of str to MinMaxQuantizationStats
        They replace what the walk would measure.
    statistics : mapping of str to TensorStatistics
        For estimators other than min-max; empty where none is used.
    shapes : mapping of str to tuple of int
        Shapes in the first call; empty where the ranges do not tell all of a calibration.
    """

    ranges: Mapping[str, MinMaxQuantizationStats] = field(default_factory=dict)
    statistics: Mapping[str, TensorStatistics] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def float_ranges(graph: Graph, data: Sequence[AnyArray], *, estimates: bool) -> FloatRanges:
    """Measure every float tensor of the float model, batch after batch.

    Every output of a node, whether or not its shape could be inferred; values that are no
    arrays (sequences, maps) and empty ones have no range.

    Parameters
    ----------
    graph : Graph
        The model.
    data : sequence of arrays
        One per model input.
    estimates : bool
        Whether histograms are wanted too.
    """
    names = float_names(graph)
    ranges: dict[str, MinMaxQuantizationStats] = {}
    statistics: dict[str, TensorStatistics] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for batch in _with_inputs(graph, data, names):
        for name, values in batch.items():
            if isinstance(values, np.ndarray):
                shapes.setdefault(name, values.shape)
            if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or not values.size:
                continue
            seen = _range(name, values)
            ranges[name] = ranges[name].merge(seen) if name in ranges else seen
            if estimates:
                found = measure(values)
                statistics[name] = statistics[name].merge(found) if name in statistics else found
    return FloatRanges(ranges, statistics, shapes)


def _with_inputs(
    graph: Graph, data: Sequence[AnyArray], names: Sequence[str]
) -> Iterator[dict[str, AnyArray]]:
    """Yield the named tensors of each batch and the model inputs with them."""
    batches = float_batches(graph, data, tensors=names)
    for call, batch in zip(calls(graph, data), batches, strict=True):
        inputs = {info.name: array for info, array in zip(graph.inputs, call, strict=True)}
        yield {**inputs, **batch}


class Measured:
    """The running ranges of one layer's float results.

    Parameters
    ----------
    layer : QuantizedLayer
        Whose.
    elsewhere : FloatRanges
        What is known already.
    estimates : bool
        Whether histograms are wanted too.
    """

    def __init__(self, layer: QuantizedLayer, elsewhere: FloatRanges, *, estimates: bool) -> None:
        self._layer = layer
        self._elsewhere = elsewhere
        self._estimates = estimates and layer.treatment is not Treatment.RAW
        self._ranges: dict[int, MinMaxQuantizationStats] = {}
        self._real: set[int] = set()
        self.statistics: dict[str, TensorStatistics] = {}

    def add(self, results: Sequence[AnyArray | None]) -> None:
        """Take in the results of one piece of the data."""
        if self._layer.treatment is Treatment.RAW:
            return
        for i, (name, values) in enumerate(zip(self._layer.node.outputs, results, strict=True)):
            if values is None or values.dtype.kind != "f" or not values.size:
                continue  # nothing to measure: what has no elements has no range
            self._real.add(i)
            if name in self._elsewhere.ranges:
                continue
            seen = _range(self._title, values)
            self._ranges[i] = self._ranges[i].merge(seen) if i in self._ranges else seen
            if self._estimates:
                found = measure(values)
                before = self.statistics.get(name)
                self.statistics[name] = before.merge(found) if before else found

    @property
    def _title(self) -> str:
        layer = self._layer
        return f"layer {layer.name!r} ({layer.node.op_type}) on the calibration data"

    def range_of(
        self, output: int, pieces: Sequence[Kept | None]
    ) -> MinMaxQuantizationStats | None:
        """Return an output's range, None if it holds no real numbers.

        `pieces` are the results themselves, where they were kept.
        """
        if output not in self._real:
            return None
        known = self._elsewhere.ranges.get(self._layer.node.outputs[output])
        if known is not None:
            return known
        op = self._layer.op
        if not (isinstance(op, FloatOp) and op.clips_outliers):
            return self._ranges[output]
        kept = [piece for piece in pieces if piece is not None]
        if len(kept) == 1:
            values = np.asarray(kept[0].get())
            low, high = np.percentile(values, OUTLIER_PERCENTILES)
        else:
            low, high = percentiles_of_pieces(
                lambda: (np.asarray(piece.get()) for piece in kept), OUTLIER_PERCENTILES
            )
        kind = self._ranges[output].rmin.dtype.type
        return MinMaxQuantizationStats(rmax=kind(high), rmin=kind(low))


def _range(title: str, values: AnyArray) -> MinMaxQuantizationStats:
    try:
        return MinMaxQuantizationStats.from_values(values)
    except TensorError as error:
        raise TensorError(f"{title}: {error}") from None
