"""Distributions of every tensor, measured once; grids are laid over them afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.arrays import read_only
from quantlib.core.stats import MinMaxQuantizationStats

if TYPE_CHECKING:
    from quantlib.analysis.reference import FloatReference
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.graph.model import Graph

BINS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """A tensor's distribution.

    Parameters
    ----------
    edges : float64 array, (bins + 1,)
        Bin edges, in the tensor's unit.
    counts : int64 array, (bins,)
        Values per bin.
    stats : MinMaxQuantizationStats
        Exact range.
    n_zero : int
        Values that are exactly 0.
    """

    edges: FloatArray
    counts: AnyArray
    stats: MinMaxQuantizationStats
    n_zero: int

    @property
    def n_values(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())


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
        Signal-to-quantization-noise ratio of this tensor alone, bin centres standing for values.
    """

    clipped_share: float
    zero_share: float
    used_codes: int
    sqnr_db: float


def histogram(values: AnyArray, *, bins: int = BINS) -> Histogram:
    """Measure one array; a constant gets bins of a visible width around it."""
    stats = MinMaxQuantizationStats.from_values(values)
    edges = _edges(stats, bins)
    counts, _ = np.histogram(values, bins=edges)
    zeros = int(values.size - np.count_nonzero(values))
    return Histogram(read_only(edges), read_only(counts), stats, zeros)


def _edges(stats: MinMaxQuantizationStats, bins: int) -> FloatArray:
    low, high = float(stats.rmin), float(stats.rmax)
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-300):
        reach = abs(low) * 0.5 or 0.5
        low, high = low - reach, high + reach
    edges = np.linspace(low, high, bins + 1)
    edges[0], edges[-1] = low, high
    return edges


def activation_histograms(reference: FloatReference) -> dict[str, Histogram]:
    """Measure every float tensor of a model: inputs and what nodes produce.

    Two passes over the batches: ranges, then counts; memory does not grow with the samples.
    """
    names = [info.name for info in reference.graph.inputs]
    stats: dict[str, MinMaxQuantizationStats] = {}
    for inputs, batch in reference.batches():
        for name, values in {**dict(zip(names, inputs, strict=True)), **batch}.items():
            if values.dtype.kind == "f":
                found = MinMaxQuantizationStats.from_values(values)
                stats[name] = stats[name].merge(found) if name in stats else found
    edges = {name: _edges(found, BINS) for name, found in stats.items()}
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in stats}
    zeros = dict.fromkeys(stats, 0)
    for inputs, batch in reference.batches():
        for name, values in {**dict(zip(names, inputs, strict=True)), **batch}.items():
            if name in stats:
                counts[name] += np.histogram(values, bins=edges[name])[0]
                zeros[name] += int(values.size - np.count_nonzero(values))
    return {
        name: Histogram(read_only(edges[name]), read_only(counts[name]), stats[name], zeros[name])
        for name in stats
    }


def weight_histograms(graph: Graph) -> dict[str, Histogram]:
    """Measure every floating-point constant of more than one value."""
    return {
        name: histogram(values)
        for name, values in graph.constants.items()
        if values.dtype.kind == "f" and values.size > 1
    }


def grid_fit(measured: Histogram, quantizer: UniformQuantizer) -> GridFit:
    """Lay a grid over a distribution."""
    centres = (measured.edges[:-1] + measured.edges[1:]) / 2
    total = max(1, measured.n_values)
    codes = quantizer.quant(centres)
    real = quantizer.dequant(codes)
    low, high = quantizer.dequant(np.array([quantizer.qmin, quantizer.qmax]))
    half = abs(quantizer.quant_params.mean_scale) / 2
    outside = (centres < min(low, high) - half) | (centres > max(low, high) + half)
    nonzero = max(1, measured.n_values - measured.n_zero)
    to_zero = measured.counts[np.abs(real) < half].sum() - measured.n_zero
    noise = float(np.sum(measured.counts * np.square(centres - real)))
    signal = float(np.sum(measured.counts * np.square(centres)))
    ratio = signal / noise if noise else float("inf")
    return GridFit(
        clipped_share=float(measured.counts[outside].sum() / total),
        zero_share=max(0.0, float(to_zero / nonzero)),
        used_codes=int(np.unique(codes[measured.counts > 0]).size),
        sqnr_db=10.0 * float(np.log10(ratio)) if ratio else -float("inf"),
    )
