"""Figures of answers that change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.analysis.comparison import MarginBin
    from quantlib.arrays import IntArray

LOSS_TO_GAIN = [[0.0, theme.CLIPPED], [0.5, "#F2CDB2"], [0.5, "#C2DDF0"], [1.0, theme.DEQUANTIZED]]
"""Colours of samples lost and gained; the sign in the cell says the same."""


def agreement_by_margin(bins: Sequence[MarginBin]) -> go.Figure:
    """Share of samples that keep their class, by the margin before."""
    whole = [b.n_agree == b.n_samples for b in bins]
    figure = go.Figure(
        go.Bar(
            y=[f"{b.low:.3g} – {b.high:.3g}" for b in bins],
            x=[100 * b.agreement for b in bins],
            orientation="h",
            marker={
                "color": [theme.WITHIN if all_ else theme.OVER for all_ in whole],
                "pattern": {
                    "shape": ["" if all_ else "/" for all_ in whole],
                    "fillmode": "overlay",
                },
            },
            text=[f"{b.n_agree} of {b.n_samples}" for b in bins],
            textposition="outside",
            cliponaxis=False,
            showlegend=False,
            hovertemplate="margin %{y}<br>%{text} samples keep their class<extra></extra>",
        )
    )
    figure.update_xaxes(range=[0, 125], tickvals=[0, 25, 50, 75, 100])
    figure.update_yaxes(type="category", autorange="reversed")
    return theme.titled(figure, x="same class (%)", y="margin before (output units)", height=360)


def confusion_change(
    change: IntArray, titles: Sequence[str], *, rows: str, after: str
) -> go.Figure:
    """How many samples each class (row) gives to each answer (column) more than before."""
    reach = int(np.abs(change).max(initial=1))
    counts = [[n or None for n in row] for row in change.tolist()]
    names = [theme.plain(title, 16) for title in titles]
    figure = go.Figure(
        go.Heatmap(
            x=names,
            y=names,
            z=counts,
            zmin=-reach,
            zmax=reach,
            colorscale=LOSS_TO_GAIN,
            xgap=1,
            ygap=1,
            text=[[f"{n:+d}" if n else "" for n in row] for row in counts],
            texttemplate="%{text}",
            showscale=False,
            hovertemplate=f"{rows} %{{y}}, answer %{{x}}<br>%{{z:+d}} samples<extra></extra>",
        )
    )
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    figure.add_trace(
        go.Scatter(
            x=names,
            y=names,
            mode="markers",
            hoverinfo="skip",
            showlegend=False,
            marker={"symbol": "square-open", "size": 24, "color": theme.FLOAT},
        )
    )
    return theme.titled(figure, x=after, y=rows, height=max(360, 120 + 26 * len(names)))
