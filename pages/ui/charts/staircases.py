"""Figures of table look-ups: the staircase of a function, and its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from pages.ui.charts import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.program.view import RoundedSteps
    from quantlib.questions.bitwidths import Function

_SHADE = 0.18
"""Opacity of the range that was seen."""


def staircase(function: Function, low: int, high: int, *, reader: str) -> go.Figure:
    """Code over accumulator, one step per code; the range seen on the data shaded.

    Parameters
    ----------
    function : Function
        What is drawn.
    low, high : int
        Smallest and largest accumulator that can enter.
    reader : str
        Who reads the codes.
    """
    starts = [low, *function.thresholds]
    ends = [*(threshold - 1 for threshold in function.thresholds), high]
    figure = go.Figure(
        go.Scatter(
            x=[*starts, high],
            y=[*function.values, function.values[-1]],
            mode="lines",
            name="code",
            line={"color": theme.GRID, "width": 2, "shape": "hv"},
            customdata=[*zip(starts, ends, strict=True), (starts[-1], high)],
            hovertemplate="%{customdata[0]} to %{customdata[1]}: code %{y}<extra></extra>",
        )
    )
    if function.seen is not None:
        first, last = function.seen
        figure.add_vrect(
            x0=first - 0.5,
            x1=last + 0.5,
            fillcolor=theme.WITHIN,
            opacity=_SHADE,
            line_width=0,
            layer="below",
        )
        figure.add_trace(  # the shape itself has no place in the legend
            go.Scatter(
                x=[None],
                y=[None],
                mode="markers",
                name=f"seen on data: {first} to {last}",
                marker={
                    "symbol": "square",
                    "size": 12,
                    "color": theme.WITHIN,
                    "opacity": 2 * _SHADE,
                },
            )
        )
    figure.update_layout(showlegend=True)
    return theme.titled(
        figure, x="accumulator (integer)", y=f"code read by {theme.plain(reader)}", height=360
    )


def memory(rounded: Sequence[RoundedSteps]) -> go.Figure:
    """Bytes of a table by the width that rounding leaves: whole, and as thresholds."""
    widths = [entry.bits for entry in rounded]
    figure = go.Figure()
    for name, sizes, colour, symbol in (
        ("whole table", [e.cost.whole_bytes for e in rounded], theme.DEQUANTIZED, "circle"),
        ("thresholds", [e.cost.threshold_bytes for e in rounded], theme.GRID, "diamond"),
    ):
        figure.add_trace(
            go.Scatter(
                x=widths,
                y=sizes,
                mode="lines+markers",
                name=name,
                line={"color": colour},
                marker={"symbol": symbol, "size": 8},
                hovertemplate="%{x} bits: %{y:,} bytes<extra>" + name + "</extra>",
            )
        )
    figure.update_xaxes(dtick=1 if len(widths) <= 20 else 2)
    figure.update_yaxes(type="log")
    return theme.titled(
        figure, x="accumulator rounded to (bits)", y="read-only memory (bytes)", height=360
    )
