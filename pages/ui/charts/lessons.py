"""The number line, the staircase and the saw-tooth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.charts import theme

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray
    from quantlib.core.quantizer import UniformQuantizer

MAX_TICKS = 33
"""Grid points that carry their integer; more are thinned evenly."""


def number_line(quantizer: UniformQuantizer, *, value: float) -> go.Figure:
    """Grid, staircase and error of one quantizer, with one value followed through it.

    Three figures share the real axis: the grid as ticks with their integers, the dequantized
    value against the real one, and the difference of the two.
    """
    codes = np.arange(quantizer.qmin, quantizer.qmax + 1)
    reals = quantizer.dequant(codes)
    stats = quantizer.quant_stats
    assert stats is not None
    low, high = min(float(stats.rmin), reals.min()), max(float(stats.rmax), reals.max())
    reach = 0.15 * max(high - low, abs(float(quantizer.scale)))
    x = np.linspace(min(low, value) - reach, max(high, value) + reach, 2001)
    y = quantizer.dequant(quantizer.quant(x))
    code = int(quantizer.quant(np.array([value]))[0])
    snapped = float(quantizer.dequant(np.array([code]))[0])

    figure = make_subplots(
        rows=3, shared_xaxes=True, row_heights=[0.2, 0.5, 0.3], vertical_spacing=0.06
    )
    _grid(figure, codes, reals)
    figure.add_trace(
        go.Scatter(
            x=[value, snapped],
            y=[0.55, 0.0],
            mode="lines+markers",
            name="value → code",
            line={"color": theme.DEQUANTIZED, "dash": "dot"},
            marker={
                "symbol": ["circle", "diamond"],
                "size": [11, 13],
                "color": [theme.FLOAT, theme.DEQUANTIZED],
            },
            hovertemplate="%{x:.5g}<extra></extra>",
        ),
        row=1,
        col=1,
    )
    for edge, label in ((float(stats.rmin), "α"), (float(stats.rmax), "β")):
        figure.add_vline(x=edge, line={"color": theme.FLOAT, "dash": "dash"}, row="all", col=1)
        figure.add_annotation(x=edge, y=0.95, text=label, showarrow=False, xshift=10, row=1, col=1)
    lines = (
        (2, x, "real value", theme.FLOAT, "dash"),
        (2, y, "dequantized", theme.DEQUANTIZED, "solid"),
        (3, y - x, "error", theme.CLIPPED, "solid"),
    )
    for row, series, name, colour, dash in lines:
        figure.add_trace(
            go.Scatter(
                x=x,
                y=series,
                mode="lines",
                name=name,
                line={"color": colour, "dash": dash},
                hovertemplate="%{x:.4g} → %{y:.4g}<extra>" + name + "</extra>",
            ),
            row=row,
            col=1,
        )
    figure.add_trace(
        go.Scatter(
            x=[value],
            y=[snapped],
            mode="markers",
            showlegend=False,
            marker={"color": theme.DEQUANTIZED, "size": 11, "symbol": "diamond"},
        ),
        row=2,
        col=1,
    )
    figure.update_yaxes(visible=False, range=[-0.6, 1.1], row=1, col=1)
    figure.update_yaxes(title_text="dequantized value", row=2, col=1)
    figure.update_yaxes(title_text="error", row=3, col=1)
    figure.update_xaxes(title_text="real value", row=3, col=1)
    return theme.framed(figure, height=560)


def _grid(figure: go.Figure, codes: AnyArray, reals: AnyArray) -> None:
    """Draw the codes as ticks on the real axis, labelled while there is room."""
    keep = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), MAX_TICKS)).astype(int))
    drawn = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), 513)).astype(int))
    figure.add_trace(
        go.Scatter(
            x=reals[drawn],
            y=np.zeros(len(drawn)),
            mode="markers",
            name="grid",
            marker={"symbol": "line-ns-open", "size": 16, "color": theme.GRID},
            customdata=codes[drawn],
            hovertemplate="code %{customdata} = %{x:.5g}<extra></extra>",
        ),
        row=1,
        col=1,
    )
    figure.add_trace(
        go.Scatter(
            x=reals[keep],
            y=np.full(len(keep), -0.4),
            mode="text",
            showlegend=False,
            text=[str(code) for code in codes[keep]],
            textfont={"size": 11},
            hoverinfo="skip",
        ),
        row=1,
        col=1,
    )
