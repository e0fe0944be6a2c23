"""Histograms with a quantization grid on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.charts import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.analysis.histograms import Histogram
    from quantlib.core.quantizer import UniformQuantizer

COLUMNS = 3
MAX_GRID_LINES = 64
SMALL_BINS = 64


def tensor_histogram(
    measured: Histogram, quantizer: UniformQuantizer | None, *, log: bool, unit: str
) -> go.Figure:
    """Distribution of one tensor, the grid's codes as lines, clipped bins in vermilion."""
    figure = go.Figure()
    for trace in _bars(measured, quantizer, bins=len(measured.counts)):
        figure.add_trace(trace)
    if quantizer is not None:
        for trace in _grid_lines(measured, quantizer):
            figure.add_trace(trace)
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_yaxes(type="log" if log else "linear")
    return theme.titled(figure, x=unit, y="values per bin", height=420)


def small_multiples(
    items: Sequence[tuple[str, Histogram, UniformQuantizer | None]], *, log: bool
) -> go.Figure:
    """One small histogram per tensor, in the given order, each with its range and clipped bins."""
    rows = -(-len(items) // COLUMNS)
    figure = make_subplots(
        rows=rows, cols=COLUMNS,
        subplot_titles=[theme.plain(name) for name, *_ in items],
        vertical_spacing=min(0.25, 0.6 / max(1, rows)),
    )  # fmt: skip
    for i, (_, measured, quantizer) in enumerate(items):
        row, column = i // COLUMNS + 1, i % COLUMNS + 1
        for trace in _bars(measured, quantizer, bins=SMALL_BINS):
            trace.showlegend = False
            figure.add_trace(trace, row=row, col=column)
        if quantizer is not None:
            for edge in quantizer.dequant(np.array([quantizer.qmin, quantizer.qmax])):
                figure.add_vline(x=float(edge), line={"color": theme.GRID, "dash": "dash"},
                                 row=row, col=column)  # fmt: skip
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_yaxes(type="log" if log else "linear", showticklabels=False)
    figure.update_annotations(font_size=12)
    return theme.framed(figure, height=60 + 160 * rows)


def _bars(measured: Histogram, quantizer: UniformQuantizer | None, *, bins: int) -> list[go.Bar]:
    """Return bars of values inside and outside the grid's range."""
    step = max(1, len(measured.counts) // bins)
    counts = np.add.reduceat(measured.counts, np.arange(0, len(measured.counts), step))
    edges = np.append(measured.edges[:-1:step], measured.edges[-1])
    centres = (edges[:-1] + edges[1:]) / 2
    outside = np.zeros(len(centres), dtype=bool)
    if quantizer is not None:
        ends = quantizer.dequant(np.array([quantizer.qmin, quantizer.qmax]))
        half = abs(quantizer.quant_params.mean_scale) / 2
        outside = (centres < ends.min() - half) | (centres > ends.max() + half)
    series = [(~outside, "values", theme.FLOAT, ""), (outside, "clipped", theme.CLIPPED, "/")]
    return [
        go.Bar(
            x=centres[mask], y=counts[mask], width=np.diff(edges)[mask], name=name,
            marker={"color": colour, "pattern": {"shape": hatch}, "line": {"width": 0}},
            hovertemplate="%{x:.4g}: %{y} values<extra></extra>",
        )
        for mask, name, colour, hatch in series
        if mask.any()
    ]  # fmt: skip


def _grid_lines(measured: Histogram, quantizer: UniformQuantizer) -> list[go.Scatter]:
    """Return the codes as vertical lines, thinned when dense, with the codes on hover."""
    codes = np.arange(quantizer.qmin, quantizer.qmax + 1)
    keep = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), MAX_GRID_LINES)).astype(int))
    codes = codes[keep]
    reals = quantizer.dequant(codes)
    top = float(measured.counts.max())
    gaps = np.full(len(reals), np.nan)
    every = round((quantizer.qmax - quantizer.qmin) / max(1, len(keep) - 1))
    return [
        go.Scatter(
            x=np.column_stack([reals, reals, gaps]).ravel(),
            y=np.tile([0.7 if top > 1 else 0.1, top, np.nan], len(reals)),
            mode="lines", line={"color": theme.GRID, "width": 1}, opacity=0.7,
            name=f"grid, every {every}th code" if every > 1 else "grid",
            customdata=np.repeat(codes, 3),
            hovertemplate="code %{customdata} = %{x:.5g}<extra></extra>",
        )
    ]  # fmt: skip
