"""Figures with one mark per node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from pages.ui.charts import theme

if TYPE_CHECKING:
    from quantlib.analysis.reports import Evaluation


def sqnr_along_graph(found: Evaluation, other: Evaluation | None = None) -> go.Figure:
    """SQNR of each node's output against the float model, in dB, in topological order."""
    figure = go.Figure()
    series = [(found, "current", theme.DEQUANTIZED, "circle", "solid")]
    if other is not None:
        series.append((other, "B", theme.GRID, "square-open", "dot"))
    for item, name, colour, symbol, dash in series:
        numbered = [(i, e) for i, e in enumerate(item.layers, 1) if e.sqnr_db is not None]
        layers = [layer for _, layer in numbered]
        figure.add_trace(
            go.Scatter(
                x=[f"{place} {theme.plain(layer.name, 22)}" for place, layer in numbered],
                y=[layer.sqnr_db for layer in layers],
                mode="lines+markers",
                name=name,
                line={"shape": "hv", "color": colour, "dash": dash},
                marker={"symbol": symbol, "size": 9},
                customdata=[[layer.op_type, layer.treatment] for layer in layers],
                hovertemplate="%{customdata[0]}, %{customdata[1]}<br>%{y:.1f} dB<extra></extra>",
            )
        )
    return theme.titled(figure, x="node, in execution order", y="SQNR (dB)", height=420)
