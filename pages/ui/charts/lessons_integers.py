"""Lesson 9: a multiplier in integers against the exact one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.charts import lessons

if TYPE_CHECKING:
    from pages.ui.charts.lessons import Look
    from quantlib.arrays import IntArray


def against_exact(
    accumulators: IntArray,
    exact: IntArray,
    fixed: IntArray,
    *,
    at: int,
    look: Look,
) -> go.Figure:
    """Results of both, and where they differ; `at` is the accumulator that is followed."""
    colours, words = look.palette, look.words
    figure = make_subplots(
        rows=2, shared_xaxes=True, row_heights=[0.66, 0.34], vertical_spacing=0.08
    )
    for series, name, colour, dash, width in (
        (exact, words["exact"], colours.range, "solid", 5),
        (fixed, words["fixed"], colours.back, "dot", 3),
    ):
        figure.add_trace(
            go.Scatter(
                x=accumulators[_corners(series)], y=series[_corners(series)],
                mode="lines", name=name,
                line={"color": colour, "dash": dash, "shape": "hv", "width": width},
                hovertemplate="%{x} → %{y}<extra>" + name + "</extra>",
            ),
            row=1, col=1,
        )  # fmt: skip
    place = int(np.argmin(np.abs(accumulators - at)))
    figure.add_trace(
        go.Scatter(
            x=[accumulators[place]], y=[fixed[place]], mode="markers+text", showlegend=False,
            text=[f"<b>{fixed[place]}</b>"], textposition="top left",
            textfont={"color": colours.back, "size": look.type_size + 2},
            marker={"symbol": "diamond", "size": 13, "color": colours.back}, hoverinfo="skip",
        ),
        row=1, col=1,
    )  # fmt: skip
    difference = fixed - exact
    apart = np.flatnonzero(difference)
    figure.add_trace(
        go.Bar(
            x=accumulators[apart], y=difference[apart], showlegend=False, marker={
                "color": colours.error, "line": {"color": colours.error, "width": 1},
            },
            hovertemplate="%{x}: %{y}<extra></extra>",
        ),
        row=2, col=1,
    )  # fmt: skip
    reach = max(1, int(np.abs(difference).max()))
    figure.update_yaxes(title_text=words["result"], row=1, col=1)
    figure.update_yaxes(
        title_text=words["difference"], range=[-1.2 * reach, 1.2 * reach], nticks=3, row=2, col=1
    )
    figure.update_xaxes(title_text=words["accumulator"], row=2, col=1)
    return lessons.finished(figure, look)


def _corners(series: IntArray) -> IntArray:
    """Return where a staircase steps, and its ends: all that a line needs."""
    steps = np.flatnonzero(np.diff(series)) + 1
    return np.unique(np.concatenate([[0], steps, [len(series) - 1]]))
