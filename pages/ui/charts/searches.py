"""Figures of sensitivity and of the search over widths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts import theme
from quantlib.analysis.attribution.sensitivity import Direction, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.analysis.attribution.sensitivity import Sensitivity
    from quantlib.analysis.search.search import SearchResult


def tornado(found: Sensitivity, part: Part, places: Mapping[str, int]) -> go.Figure:
    """Error of each layer alone to the left, error that leaving it in float removes to the right.

    Both in parts of the whole configuration's mean squared error, the largest first.
    """
    alone = {e.layer: e for e in found.ranked(Direction.QUANTIZED_ALONE, part)}
    floats = {e.layer: e for e in found.ranked(Direction.FLOAT_ALONE, part)}
    whole = found.mse or 1.0
    names = list(alone)
    damage = [alone[name].mse / whole for name in names]
    gain = [(whole - floats[name].mse) / whole for name in names]
    labels = [theme.numbered(places, name) for name in names]
    figure = go.Figure()
    figure.add_trace(
        go.Bar(
            x=[-value for value in damage],
            y=labels,
            orientation="h",
            name="only this layer quantized: its error",
            width=0.8,
            marker={"color": theme.CLIPPED, "pattern": {"shape": "/"}},
            customdata=[[100 * d, alone[n].sqnr_db] for d, n in zip(damage, names, strict=True)],
            hovertemplate="alone: %{customdata[0]:.1f} % of the error, %{customdata[1]:.1f} dB"
            "<extra></extra>",
        )
    )
    figure.add_trace(
        go.Bar(
            x=gain,
            y=labels,
            orientation="h",
            name="only this layer in float: error removed",
            width=0.4,
            marker={"color": theme.WITHIN},
            customdata=[[100 * g, floats[n].sqnr_db] for g, n in zip(gain, names, strict=True)],
            hovertemplate="in float: %{customdata[0]:.1f} % of the error gone, "
            "%{customdata[1]:.1f} dB<extra></extra>",
        )
    )
    figure.update_layout(barmode="overlay")
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(tickformat=".1~%")
    return theme.titled(
        figure,
        x="share of the whole configuration's mean squared error",
        y="",
        height=max(240, 110 + 30 * len(names)),
    )


def assignment(found: SearchResult, places: Mapping[str, int]) -> go.Figure:
    """Widths by layer as steps, over those of the best uniform configuration."""
    names = list(found.best.widths)
    labels = [theme.numbered(places, name, 22) for name in names]
    figure = go.Figure()
    series = [("found", found.best.widths, "solid")]
    if found.uniform is not None:
        series.append(("best uniform", found.uniform.widths, "dot"))
    for title, widths, dash in series:
        for place, (what, colour, symbol) in enumerate(
            (("weights", theme.GRID, "square"), ("activations", theme.DEQUANTIZED, "circle"))
        ):
            values = [float(widths[name][place]) or np.nan for name in names]
            figure.add_trace(
                go.Scatter(
                    x=labels,
                    y=values,
                    name=f"{what}, {title}",
                    mode="lines+markers" if title == "found" else "lines",
                    connectgaps=True,
                    line={"shape": "hvh", "color": colour, "dash": dash, "width": 2},
                    marker={"symbol": symbol, "size": 9},
                    hovertemplate=f"{what}: %{{y}} bits<extra>{title}</extra>",
                )
            )
    figure.update_yaxes(dtick=1, rangemode="tozero")
    return theme.titled(figure, x="layer, in execution order", y="bits", height=360)
