"""Figures with one mark per layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from pages.ui.charts import theme

if TYPE_CHECKING:
    from quantlib.analysis.reports import Evaluation


def accumulator_widths(found: Evaluation) -> go.Figure:
    """Accumulator width of each integer operator against the limit, in bits."""
    layers = [layer for layer in found.layers if layer.width_bits is not None]
    limit = found.config.limit_bits
    over = [(layer.width_bits or 0) > limit for layer in layers]
    figure = go.Figure(
        go.Bar(
            x=[layer.width_bits for layer in layers],
            y=[f"{i + 1} {theme.plain(layer.name)}" for i, layer in enumerate(layers)],
            orientation="h",
            marker={
                "color": [theme.OVER if wide else theme.WITHIN for wide in over],
                "pattern": {"shape": ["/" if wide else "" for wide in over]},
            },
            text=[f"{layer.width_bits} bits" for layer in layers],
            textposition="outside",
            cliponaxis=False,
            customdata=[[layer.op_type, *(layer.accumulator or (0, 0))] for layer in layers],
            hovertemplate="%{customdata[0]}<br>%{x} bits<br>"
            "from %{customdata[1]} to %{customdata[2]}<extra></extra>",
        )
    )
    figure.add_vline(
        x=limit, line={"color": theme.OVER, "dash": "dash", "width": 2},
        annotation_text=f"limit: {limit} bits", annotation_position="top",
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    widest = max([limit, *(layer.width_bits or 0 for layer in layers)])
    figure.update_xaxes(range=[0, widest + 2], dtick=2)
    return theme.titled(
        figure, x="accumulator width (bits)", y="", height=max(220, 90 + 34 * len(layers))
    )


def sqnr_along_graph(found: Evaluation, other: Evaluation | None = None) -> go.Figure:
    """SQNR of each node's output against the float model, in dB, in topological order."""
    figure = go.Figure()
    series = [(found, "current", theme.DEQUANTIZED, "circle", "solid")]
    if other is not None:
        series.append((other, "B", theme.GRID, "square-open", "dot"))
    for item, name, colour, symbol, dash in series:
        layers = [layer for layer in item.layers if layer.sqnr_db is not None]
        figure.add_trace(
            go.Scatter(
                x=[f"{i + 1} {theme.plain(layer.name, 22)}" for i, layer in enumerate(layers)],
                y=[layer.sqnr_db for layer in layers],
                mode="lines+markers", name=name,
                line={"shape": "hv", "color": colour, "dash": dash},
                marker={"symbol": symbol, "size": 9},
                customdata=[[layer.op_type, layer.treatment] for layer in layers],
                hovertemplate="%{customdata[0]}, %{customdata[1]}<br>%{y:.1f} dB<extra></extra>",
            )
        )  # fmt: skip
    return theme.titled(figure, x="node, in execution order", y="SQNR (dB)", height=420)
