"""Figures of the bit-width budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts import theme
from quantlib.analysis.widths.criterion import Criterion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.analysis.widths.budget import Budget, LayerBudget
    from quantlib.analysis.widths.cost import Cost
    from quantlib.analysis.widths.feasible import FeasibleRegion
    from quantlib.arrays import FloatArray


MAX_BARS = 15
"""Operators that are drawn of a large model."""

_LIMIT = {"color": theme.OVER, "dash": "dash", "width": 2}


def budget_bars(
    found: Budget, places: Mapping[str, int], criterion: Criterion = Criterion.SEEN
) -> go.Figure:
    """Width of each accumulator on an axis of bits: seen, allowed by weights, allowed by types.

    Each bar is named by the layer's place in the model and its name. Bars of what was seen are
    marked where that is over the limit; outlines too, where any input counts against it. A layer
    that rounding brings within the limit is not marked, however long its bar.
    """
    layers, limit = found.layers, found.limit_bits
    names = [theme.numbered(places, layer.name) for layer in layers]
    seen = [layer.seen.needed_bits if layer.seen else 0.0 for layer in layers]
    weights = [layer.weights.needed_bits for layer in layers]
    types = [layer.types.needed_bits for layer in layers]
    over = [not layer.fits_by(Criterion.SEEN) for layer in layers]
    outlines = [
        theme.OVER
        if criterion is Criterion.ANY_INPUT and not layer.fits_by(criterion)
        else theme.GRID
        for layer in layers
    ]
    end = max([limit, *types, *weights]) + 5
    figure = go.Figure()
    figure.add_trace(
        go.Bar(
            x=weights,
            y=names,
            orientation="h",
            name="the weights allow",
            width=0.72,
            marker={"color": theme.TRANSPARENT, "line": {"color": outlines, "width": 2}},
            customdata=[[layer.weights.width_bits, *layer.weights.range] for layer in layers],
            hovertemplate="the weights allow %{customdata[0]} bits<br>%{customdata[1]} to "
            "%{customdata[2]}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Bar(
            x=seen,
            y=names,
            orientation="h",
            name="seen on data",
            width=0.46,
            marker={
                "color": [theme.OVER if beyond else theme.WITHIN for beyond in over],
                "pattern": {"shape": ["/" if beyond else "" for beyond in over]},
            },
            customdata=[
                [layer.seen.width_bits, *layer.seen.range] if layer.seen else [0, 0, 0]
                for layer in layers
            ],
            hovertemplate="seen %{customdata[0]} bits<br>%{customdata[1]} to %{customdata[2]}"
            "<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=types,
            y=names,
            mode="markers",
            name="the types allow",
            marker={
                "symbol": "line-ns-open",
                "size": 22,
                "color": theme.FLOAT,
                "line": {"width": 2},
            },
            hovertemplate="the types allow %{x:.1f} bits<extra></extra>",
        )
    )
    figure.add_trace(  # the line itself has no place in the legend
        go.Scatter(x=[None], y=[None], mode="lines", name=f"limit: {limit} bits", line=_LIMIT)
    )
    figure.add_trace(
        go.Scatter(
            x=[end] * len(layers),
            y=names,
            mode="text",
            text=[f"{layer.headroom_bits:+.1f} bits" for layer in layers],
            textposition="middle left",
            showlegend=False,
            hoverinfo="skip",
            cliponaxis=False,
        )
    )
    figure.add_vline(x=limit, line=_LIMIT)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(range=[0, end], dtick=2)
    figure.update_layout(barmode="overlay")
    return theme.titled(
        figure, x="accumulator width (bits)", y="", height=max(240, 110 + 38 * len(layers))
    )


def channel_strip(layer: LayerBudget, limit_bits: int) -> go.Figure:
    """Width of one accumulator by output channel, allowed by the weights and seen."""
    allowed = layer.weights.channel_widths
    index = np.arange(len(allowed))
    beyond_limit = [not layer.fits_by(Criterion.ANY_INPUT) and w > limit_bits for w in allowed]
    outlines = [theme.OVER if beyond else theme.GRID for beyond in beyond_limit]
    figure = go.Figure()
    figure.add_trace(
        go.Bar(
            x=index,
            y=allowed,
            name="the weights allow",
            marker={"color": theme.TRANSPARENT, "line": {"color": outlines, "width": 2}},
            hovertemplate="channel %{x}: %{y} bits<extra></extra>",
        )
    )
    if layer.seen is not None and layer.seen.channels == len(allowed):
        fits = layer.fits_by(Criterion.SEEN)
        over = [not fits and width > limit_bits for width in layer.seen.channel_widths]
        figure.add_trace(
            go.Bar(
                x=index,
                y=layer.seen.channel_widths,
                name="seen on data",
                width=0.5,
                marker={
                    "color": [theme.OVER if beyond else theme.WITHIN for beyond in over],
                    "pattern": {"shape": ["/" if beyond else "" for beyond in over]},
                },
                hovertemplate="channel %{x}: %{y} bits seen<extra></extra>",
            )
        )
    figure.add_hline(y=limit_bits, line=_LIMIT)
    figure.update_layout(barmode="overlay")
    return theme.titled(figure, x="output channel", y="width (bits)", height=280)


def fit_map(
    found: FeasibleRegion, sqnr_db: FloatArray | None, current: tuple[int, int]
) -> go.Figure:
    """Accumulator width over weight and activation bits of one layer; SQNR as shade.

    Cells that fit the limit are outlined; a click selects the cell.
    """
    widths = found.width_bits.T
    shade = widths.astype(np.float64) if sqnr_db is None else sqnr_db.T
    label = "width (bits)" if sqnr_db is None else "SQNR (dB)"
    figure = go.Figure(
        go.Heatmap(
            x=found.weight_bits,
            y=found.activation_bits,
            hoverinfo="skip",
            xgap=2,
            ygap=2,
            z=np.where((widths > 0) & np.isfinite(shade), shade, np.nan),
            colorscale=theme.MAGNITUDE,
            reversescale=sqnr_db is None,
            colorbar={"title": {"text": label, "side": "right"}},
            text=[[str(w) if w else "–" for w in row] for row in widths],
            texttemplate="%{text}",
        )
    )
    cells = [
        (i, j)
        for i in range(len(found.weight_bits))
        for j in range(len(found.activation_bits))
        if found.width_bits[i, j]
    ]
    figure.add_trace(
        go.Scatter(
            x=[found.weight_bits[i] for i, _ in cells],
            y=[found.activation_bits[j] for _, j in cells],
            mode="markers",
            marker={"symbol": "square", "size": 30, "color": theme.TRANSPARENT},
            showlegend=False,
            customdata=[
                [
                    found.weight_bits[i],
                    found.activation_bits[j],
                    int(found.width_bits[i, j]),
                    None if sqnr_db is None else float(sqnr_db[i, j]),
                ]
                for i, j in cells
            ],
            hovertemplate="weights %{x}, activations %{y} bits<br>accumulator %{customdata[2]} "
            "bits"
            + ("" if sqnr_db is None else "<br>SQNR %{customdata[3]:.1f} dB")
            + "<extra></extra>",
        )
    )
    figure.add_trace(_outlines(found))
    figure.add_trace(
        go.Scatter(
            x=[current[0]],
            y=[current[1]],
            mode="markers",
            name="current",
            hoverinfo="skip",
            marker={"symbol": "circle-open", "size": 42, "color": theme.OVER, "line": {"width": 3}},
        )
    )
    xs, ys = found.weight_bits, found.activation_bits
    figure.update_xaxes(dtick=1, range=[min(xs) - 0.5, max(xs) + 0.5])
    figure.update_yaxes(dtick=1, range=[min(ys) - 0.5, max(ys) + 0.5])
    return theme.titled(
        figure, x="weight bits of this layer", y="activation bits of this layer", height=460
    )


def _outlines(found: FeasibleRegion) -> go.Scatter:
    """Return a frame inside each cell that fits the limit."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for i, j in np.argwhere(found.fits):
        x, y = found.weight_bits[i], found.activation_bits[j]
        xs += [x - 0.42, x + 0.42, x + 0.42, x - 0.42, x - 0.42, None]
        ys += [y - 0.42, y - 0.42, y + 0.42, y + 0.42, y - 0.42, None]
    return go.Scatter(
        x=xs,
        y=ys,
        mode="lines",
        line={"color": theme.WITHIN, "width": 3},
        hoverinfo="skip",
        name=f"fits {found.limit_bits} bits",
    )


def look_ups(found: Cost) -> go.Figure:
    """Table look-ups per sample by the width of what enters the table."""
    counted = found.lookups_by_width
    figure = go.Figure(
        go.Bar(
            x=[str(width) if width else "unknown" for width in counted],
            y=list(counted.values()),
            text=[f"{n:,}" for n in counted.values()],
            marker={"color": theme.DEQUANTIZED},
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y} look-ups of %{x} bits<extra></extra>",
        )
    )
    figure.update_xaxes(type="category")
    return theme.titled(
        figure, x="input width of the table (bits)", y="table look-ups per sample", height=340
    )


def bit_operations(found: Cost, places: Mapping[str, int]) -> go.Figure:
    """Bit operations of each integer operator: products times both widths.

    Of more than `MAX_BARS` the costliest, costliest first.
    """
    layers = [layer for layer in found.layers if layer.bit_operations]
    if len(layers) > MAX_BARS:
        layers = sorted(layers, key=lambda layer: -layer.bit_operations)[:MAX_BARS]
    figure = go.Figure(
        go.Bar(
            x=[layer.bit_operations for layer in layers],
            y=[theme.numbered(places, layer.name) for layer in layers],
            orientation="h",
            marker={"color": theme.GRID},
            customdata=[layer.macs for layer in layers],
            hovertemplate="%{x:,} bit operations, %{customdata:,} products<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed")
    return theme.titled(
        figure,
        x="bit operations per sample (products × both widths)",
        y="",
        height=max(220, 90 + 30 * len(layers)),
    )
