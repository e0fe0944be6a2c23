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
    compared: Sequence[int] = (),
    best: int | None = None,
    ends: tuple[float, float] | None = None,
) -> go.Figure:
    """Distribution of one tensor, the grid's codes as lines, clipped bins in vermilion.

    Parameters
    ----------
    measured : Distribution
        Its values.
    quantizer : UniformQuantizer or None
        The grid that runs.
    log : bool
        Whether counts are logarithmic.
    unit : str
        Name of the axis of values.
    choices : sequence of RangeChoice
        Other ranges: each is a bar from its lowest to its highest code, below the histogram.
    compared : sequence of int
        Those of them whose ends also stand as lines in the histogram; own ranges always do.
    best : int, optional
        The one that is marked.
    ends : (float, float), optional
        Where the axis of values begins and ends; all of the width is then the axis.
    """
    quantizer = _of_tensor(quantizer)
    lanes = len(choices)
    figure = (
        make_subplots(
            rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.02, row_heights=[260, 24 * lanes]
        )
        if lanes
        else go.Figure()
    )
    for trace in _bars(measured, quantizer, bins=LARGE_BINS):
        figure.add_trace(trace)
    if quantizer is not None:
        for trace in _grid_lines(measured, quantizer, log=log):
            figure.add_trace(trace)
    top = float(_binned(measured, LARGE_BINS)[1].max())
    for i, choice in enumerate(choices):
        if choice.estimator is None or i in compared:
            figure.add_trace(_threshold_lines(choice, top, i, log=log))
    figure.update_layout(barmode="overlay", bargap=0)
    theme.titled(figure, x=unit, y="values per bin", height=420)
    figure.update_yaxes(type="log" if log else "linear", dtick=1 if log else None)
    if lanes:
        for i, choice in enumerate(choices):
            figure.add_trace(_lane(choice, i, is_best=i == best, at=ends), row=2, col=1)
        figure.update_xaxes(title_text="", row=1, col=1)
        figure.update_yaxes(
            type="linear",
            dtick=None,
            title_text="",
            showticklabels=False,
            range=[lanes - 0.4, -0.9],
            row=2,
            col=1,
        )
        figure.update_layout(height=330 + 24 * lanes)
    if ends is not None:
        figure.update_xaxes(range=list(ends))
        figure.update_yaxes(ticklabelposition="inside", title_standoff=0)
        figure.update_layout(margin={"l": 8, "r": 8})
        figure.update_yaxes(title_text="")
        figure.add_annotation(
            text="values per bin", x=1, y=1, xref="paper", yref="paper", showarrow=False,
            xanchor="right", yanchor="bottom",
        )  # fmt: skip
    return figure


def _lane(
    choice: RangeChoice, position: int, *, is_best: bool, at: tuple[float, float] | None
) -> go.Scatter:
    """Return a range as a bar from its lowest to its highest code, its name above the left end."""
    low, high = _ends(choice.quantizer)
    name = _name(choice)
    colour = (
        theme.OVER if choice.estimator is None else theme.WITHIN if is_best else theme.DEQUANTIZED
    )
    words = f"<b>{name}: best SQNR</b>" if is_best else name
    first = low if at is None else at[0]
    return go.Scatter(
        x=[low, high, None, first],
        y=[position, position, None, position],
        text=["", "", "", f" {words}"],
        mode="lines+markers+text",
        textposition="top right",
        textfont={"size": 11},
        cliponaxis=False,
        line={"color": colour, "width": 4 if is_best else 2.5},
        marker={"symbol": "line-ns-open", "size": [12, 12, 0, 0], "color": colour},
        name=f"range of {name}",
        showlegend=False,
        hovertemplate=f"{name}: {low:.5g} to {high:.5g}<extra></extra>",
    )


def _name(choice: RangeChoice) -> str:
    return choice.estimator.kind.label if choice.estimator else "own range"


def _ends(grid: UniformQuantizer) -> tuple[float, float]:
    """Return the real values of the lowest and the highest code."""
    low, high = grid.dequant(np.array([grid.qmin, grid.qmax]))
    return float(low), float(high)


def small_multiples(
    items: Sequence[tuple[str, str, Distribution, UniformQuantizer | None]], *, log: bool
) -> go.Figure:
    """One small histogram per tensor, in the given order, each with its range and clipped bins.

    An item is a title that begins with the layer's number, what is suspicious, what the tensor
    holds, and its grid. Custom data of the bars is the tensor's place in that order.
    """
    rows = -(-len(items) // COLUMNS)
    figure = make_subplots(
        rows=rows,
        cols=COLUMNS,
        subplot_titles=[
            theme.titled_by_number(title, 24) + (f" · {theme.plain(said, 40)}" if said else "")
            for title, said, *_ in items
        ],
        vertical_spacing=min(0.25, 0.6 / max(1, rows)),
    )
    for i, (_, _, measured, grid) in enumerate(items):
        quantizer = _of_tensor(grid)
        row, column = i // COLUMNS + 1, i % COLUMNS + 1
        for trace in _bars(measured, quantizer, bins=SMALL_BINS):
            trace.showlegend = False
            trace.customdata = [[i]] * len(trace.x)
            # a click chooses the tensor, and nothing fades
            trace.selected = trace.unselected = {"marker": {"opacity": 1}}
            figure.add_trace(trace, row=row, col=column)
        if quantizer is not None:
            for edge in quantizer.dequant(np.array([quantizer.qmin, quantizer.qmax])):
                figure.add_vline(
                    x=float(edge), line={"color": theme.GRID, "dash": "dash"}, row=row, col=column
                )
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_yaxes(type="log" if log else "linear", showticklabels=False)
    figure.update_annotations(font_size=12)
    figure.update_layout(hovermode="closest", hoverdistance=60)
    return theme.framed(figure, height=60 + 130 * rows)


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
    """Return both ends of a range as lines."""
    low, high = _ends(choice.quantizer)
    name = _name(choice)
    foot = _foot(top, log=log)
    return go.Scatter(
        x=[low, low, None, high, high],
        y=[foot, top, None, foot, top],
        mode="lines",
        line={
            "color": theme.OVER if choice.estimator is None else theme.DEQUANTIZED,
            "width": 2,
            "dash": DASHES[position % len(DASHES)],
        },
        name=name,
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
