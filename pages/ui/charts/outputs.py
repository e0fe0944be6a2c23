"""Float against dequantized model outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts import theme

if TYPE_CHECKING:
    from quantlib.analysis.reports import Evaluation


def scatter(found: Evaluation, other: Evaluation | None = None) -> go.Figure:
    """Dequantized against float outputs; the identity line is no error at all."""
    x, y = found.scatter
    ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))]
    figure = go.Figure()
    series = [(found, "current", theme.DEQUANTIZED, "circle")]
    if other is not None:
        series.insert(0, (other, "B", theme.GRID, "square"))
    for item, name, colour, symbol in series:
        figure.add_trace(
            go.Scattergl(
                x=item.scatter[0], y=item.scatter[1], mode="markers", name=name,
                marker={"color": colour, "size": 5, "opacity": 0.55, "symbol": symbol},
                hovertemplate="float %{x:.4g}<br>dequantized %{y:.4g}<extra></extra>",
            )
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(x=ends, y=ends, mode="lines", name="no error",
                   line={"color": theme.FLOAT, "dash": "dash"}, hoverinfo="skip")
    )  # fmt: skip
    return theme.titled(figure, x="float output", y="dequantized output", height=420)


def error_histogram(found: Evaluation) -> go.Figure:
    """Distribution of the output error, with its standard deviation and the output's step."""
    centres = (found.error_edges[:-1] + found.error_edges[1:]) / 2
    figure = go.Figure(
        go.Bar(
            x=centres, y=found.error_counts, width=np.diff(found.error_edges),
            marker={"color": theme.DEQUANTIZED}, name="outputs",
            hovertemplate="error %{x:.4g}: %{y} outputs<extra></extra>",
        )
    )  # fmt: skip
    for sign in (-1, 1):
        figure.add_vline(
            x=sign * found.error_std, line={"color": theme.CLIPPED, "dash": "dash"},
            annotation_text="σ" if sign > 0 else "−σ",
        )  # fmt: skip
    figure.update_layout(bargap=0)
    return theme.titled(
        figure, x="dequantized − float (output units)", y="outputs per bin", height=420
    )
