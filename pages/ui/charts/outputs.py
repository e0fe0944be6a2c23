"""Float against dequantized model outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts import theme

if TYPE_CHECKING:
    from quantlib.analysis.reports import Evaluation
    from quantlib.arrays import FloatArray


def scatter(
    pairs: tuple[FloatArray, FloatArray], *, x: str = "float output", y: str = "dequantized output"
) -> go.Figure:
    """Outputs against outputs; the identity line is no difference at all."""
    before, after = pairs
    ends = [float(min(before.min(), after.min())), float(max(before.max(), after.max()))]
    figure = go.Figure(
        go.Scattergl(
            x=before,
            y=after,
            mode="markers",
            name="one output of one sample",
            marker={"color": theme.DEQUANTIZED, "size": 5, "opacity": 0.55},
            hovertemplate=f"{x} %{{x:.4g}}<br>{y} %{{y:.4g}}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=ends,
            y=ends,
            mode="lines",
            name="no error",
            line={"color": theme.FLOAT, "dash": "dash"},
            hoverinfo="skip",
        )
    )
    return theme.titled(figure, x=f"{x} (output units)", y=f"{y} (output units)", height=400)


def error_histogram(found: Evaluation) -> go.Figure:
    """Distribution of the output error, its spread, and that of rounding the output alone."""
    centres = (found.error_edges[:-1] + found.error_edges[1:]) / 2
    figure = go.Figure(
        go.Bar(
            x=centres,
            y=found.error_counts,
            width=np.diff(found.error_edges),
            marker={"color": theme.DEQUANTIZED},
            name="outputs",
            showlegend=False,
            hovertemplate="error %{x:.4g}: %{y} outputs<extra></extra>",
        )
    )
    top = float(found.error_counts.max())
    spreads = [(found.error_std, "σ", theme.CLIPPED, "dash")]
    if found.rounding_std is not None:
        spreads.append((found.rounding_std, "step/√12", theme.FLOAT, "dot"))
    for value, name, colour, dash in spreads:
        figure.add_trace(
            go.Scatter(
                x=[-value, -value, None, value, value],
                y=[0, top, None, 0, top],
                mode="lines",
                name=f"±{name} = {value:.3g}",
                line={"color": colour, "dash": dash, "width": 3},
                hoverinfo="name",
            )
        )
    figure.update_layout(bargap=0)
    return theme.titled(
        figure, x="dequantized − float (output units)", y="outputs per bin", height=400
    )
