"""Distributions with a quantization grid on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.charts import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.analysis.distributions import Channels, Distribution, RangeChoice
    from quantlib.arrays import AnyArray, FloatArray
    from quantlib.calibration.sufficiency import Sufficiency
    from quantlib.core.quantizer import UniformQuantizer

COLUMNS = 3
MAX_GRID_LINES = 64
SMALL_BINS = 64
LARGE_BINS = 256
DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")


def tensor_histogram(
    measured: Distribution,
    quantizer: UniformQuantizer | None,
    *,
    log: bool,
    unit: str,
    choices: Sequence[RangeChoice] = (),
) -> go.Figure:
    """Distribution of one tensor, the grid's codes as lines, clipped bins in vermilion.

    The ends of other ranges are lines of their own; the legend switches them on.
    """
    quantizer = _of_tensor(quantizer)
    figure = go.Figure()
    for trace in _bars(measured, quantizer, bins=LARGE_BINS):
        figure.add_trace(trace)
    if quantizer is not None:
        for trace in _grid_lines(measured, quantizer, log=log):
            figure.add_trace(trace)
    top = float(_binned(measured, LARGE_BINS)[1].max())
    for i, choice in enumerate(choices):
        figure.add_trace(_threshold_lines(choice, top, i, log=log))
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_yaxes(type="log" if log else "linear")
    return theme.titled(figure, x=unit, y="values per bin", height=420)


def small_multiples(
    items: Sequence[tuple[str, Distribution, UniformQuantizer | None]], *, log: bool
) -> go.Figure:
    """One small histogram per tensor, in the given order, each with its range and clipped bins."""
    rows = -(-len(items) // COLUMNS)
    figure = make_subplots(
        rows=rows,
        cols=COLUMNS,
        subplot_titles=[theme.plain(name) for name, *_ in items],
        vertical_spacing=min(0.25, 0.6 / max(1, rows)),
    )
    for i, (_, measured, grid) in enumerate(items):
        quantizer = _of_tensor(grid)
        row, column = i // COLUMNS + 1, i % COLUMNS + 1
        for trace in _bars(measured, quantizer, bins=SMALL_BINS):
            trace.showlegend = False
            figure.add_trace(trace, row=row, col=column)
        if quantizer is not None:
            for edge in quantizer.dequant(np.array([quantizer.qmin, quantizer.qmax])):
                figure.add_vline(
                    x=float(edge), line={"color": theme.GRID, "dash": "dash"}, row=row, col=column
                )
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_yaxes(type="log" if log else "linear", showticklabels=False)
    figure.update_annotations(font_size=12)
    return theme.framed(figure, height=60 + 160 * rows)


def _of_tensor(quantizer: UniformQuantizer | None) -> UniformQuantizer | None:
    """Return the grid of a whole tensor; grids per channel are drawn by channel."""
    return None if quantizer is None or quantizer.is_per_channel else quantizer


def _binned(measured: Distribution, bins: int) -> tuple[FloatArray, AnyArray]:
    """Return edges and counts of at most twice `bins` bins."""
    step = max(1, len(measured.counts) // bins)
    counts = np.add.reduceat(measured.counts, np.arange(0, len(measured.counts), step))
    return np.append(measured.edges[:-1:step], measured.edges[-1]), counts


def _bars(measured: Distribution, quantizer: UniformQuantizer | None, *, bins: int) -> list[go.Bar]:
    """Return bars of values inside and outside the grid's range."""
    edges, counts = _binned(measured, bins)
    centres = (edges[:-1] + edges[1:]) / 2
    outside = np.zeros(len(centres), dtype=bool)
    if quantizer is not None:
        ends = quantizer.dequant(np.array([quantizer.qmin, quantizer.qmax]))
        half = abs(quantizer.quant_params.mean_scale) / 2
        outside = (centres < ends.min() - half) | (centres > ends.max() + half)
    series = [(~outside, "values", theme.FLOAT, ""), (outside, "clipped", theme.CLIPPED, "/")]
    return [
        go.Bar(
            x=centres[mask],
            y=counts[mask],
            width=np.diff(edges)[mask],
            name=name,
            marker={"color": colour, "pattern": {"shape": hatch}, "line": {"width": 0}},
            hovertemplate="%{x:.4g}: %{y} values<extra></extra>",
        )
        for mask, name, colour, hatch in series
        if mask.any()
    ]


def _threshold_lines(choice: RangeChoice, top: float, position: int, *, log: bool) -> go.Scatter:
    """Return both ends of an estimator's grid as lines; own ranges are drawn at once."""
    grid = choice.quantizer
    low, high = grid.dequant(np.array([grid.qmin, grid.qmax]))
    by_hand = choice.estimator is None
    name = choice.estimator.kind.label if choice.estimator else "own range"
    return go.Scatter(
        x=[low, low, None, high, high],
        y=[_foot(top, log=log), top] * 2,
        mode="lines",
        line={
            "color": theme.OVER if by_hand else theme.DEQUANTIZED,
            "width": 2,
            "dash": DASHES[position % len(DASHES)],
        },
        name=name,
        visible=True if by_hand else "legendonly",
        hovertemplate=f"{name}: %{{x:.5g}}<extra></extra>",
    )


def channel_ranges(channels: Channels, quantizer: UniformQuantizer) -> go.Figure:
    """Smallest to largest value of each channel, with the ends of its grid."""
    index = np.arange(len(channels.low))
    shape = np.shape(quantizer.scale)
    low, high = (
        np.broadcast_to(np.ravel(quantizer.dequant(np.full(shape, code))), index.shape)
        for code in (quantizer.qmin, quantizer.qmax)
    )
    dead = channels.low == channels.high
    figure = go.Figure()
    figure.add_trace(
        go.Bar(
            x=index,
            y=channels.high - channels.low,
            base=channels.low,
            name="range",
            marker={"color": theme.FLOAT},
            customdata=channels.high,
            hovertemplate="channel %{x}: %{base:.4g} to %{customdata:.4g}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=index[dead],
            y=channels.low[dead],
            mode="markers",
            name="dead channel",
            marker={"symbol": "x", "size": 10, "color": theme.OVER},
        )
    )
    for name, line in (("lowest code", low), ("highest code", high)):
        figure.add_trace(
            go.Scatter(
                x=index,
                y=line,
                mode="lines",
                name=name,
                line={"shape": "hvh", "color": theme.GRID, "dash": "dash"},
                hovertemplate="channel %{x}: %{y:.4g}<extra>" + name + "</extra>",
            )
        )
    return theme.titled(figure, x="channel", y="value", height=360)


def sufficiency(found: Sufficiency, *, unit: str, width: bool) -> go.Figure:
    """How range or width settles with the number of samples: median and 90 % band."""
    band = found.width_bits if width else found.range
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=found.sizes,
            y=band.high,
            mode="lines",
            line={"width": 0},
            showlegend=False,
            hoverinfo="skip",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=found.sizes,
            y=band.low,
            mode="lines",
            line={"width": 0},
            fill="tonexty",
            fillcolor="rgba(46,134,193,0.25)",
            name="90 % of resamples",
            hoverinfo="skip",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=found.sizes,
            y=band.median,
            mode="lines+markers",
            name="median",
            line={"color": theme.DEQUANTIZED},
            hovertemplate="%{x} samples: %{y:.4g}<extra></extra>",
        )
    )
    if width:
        figure.update_yaxes(dtick=1)
    return theme.titled(figure, x="calibration samples", y=unit, height=320)


def _foot(top: float, *, log: bool) -> float:
    """Return where a vertical line starts: 0, which a logarithmic axis does not have."""
    return 0.0 if not log else 0.7 if top > 1 else 0.1


def _grid_lines(
    measured: Distribution, quantizer: UniformQuantizer, *, log: bool
) -> list[go.Scatter]:
    """Return the codes as vertical lines, thinned when dense, with the codes on hover."""
    codes = np.arange(quantizer.qmin, quantizer.qmax + 1)
    keep = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), MAX_GRID_LINES)).astype(int))
    codes = codes[keep]
    reals = quantizer.dequant(codes)
    top = float(_binned(measured, LARGE_BINS)[1].max())
    gaps = np.full(len(reals), np.nan)
    every = round((quantizer.qmax - quantizer.qmin) / max(1, len(keep) - 1))
    return [
        go.Scatter(
            x=np.column_stack([reals, reals, gaps]).ravel(),
            y=np.tile([_foot(top, log=log), top, np.nan], len(reals)),
            mode="lines",
            line={"color": theme.GRID, "width": 1},
            opacity=0.7,
            name=f"grid, every {every}th code" if every > 1 else "grid",
            customdata=np.repeat(codes, 3),
            hovertemplate="code %{customdata} = %{x:.5g}<extra></extra>",
        )
    ]
