"""Figures of sensitivity and of the search over widths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.charts import theme
from quantlib.analysis.attribution.sensitivity import Direction, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantlib.analysis.attribution.sensitivity import Sensitivity
    from quantlib.analysis.search.search import SearchResult


def tornado(
    found: Sensitivity, part: Part, places: Mapping[str, int], *, most: int | None = None
) -> go.Figure:
    """Error of each layer alone on the left, error that leaving it in float removes on the right.

    Both in parts of the whole configuration's mean squared error, the largest first; an error
    alone is never negative, and its axis begins in the middle.

    Parameters
    ----------
    found : Sensitivity
        What was measured.
    part : Part
        Which operands.
    places : mapping of str to int
        Number of each layer.
    most : int, optional
        How many layers are drawn.
    """
    alone = {e.layer: e for e in found.ranked(Direction.QUANTIZED_ALONE, part)}
    floats = {e.layer: e for e in found.ranked(Direction.FLOAT_ALONE, part)}
    whole = found.mse or 1.0
    names = list(alone)[:most]
    damage = [alone[name].mse / whole for name in names]
    gain = [(whole - floats[name].mse) / whole for name in names]
    labels = [theme.numbered(places, name) for name in names]
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.06)
    figure.add_trace(
        go.Bar(
            x=damage,
            y=labels,
            orientation="h",
            name="only this layer quantized: its error",
            marker={"color": theme.CLIPPED, "pattern": {"shape": "/"}},
            customdata=[[100 * d, alone[n].sqnr_db] for d, n in zip(damage, names, strict=True)],
            hovertemplate="alone: %{customdata[0]:.1f} % of the error, %{customdata[1]:.1f} dB"
            "<extra></extra>",
        ),
        row=1,
        col=1,
    )
    figure.add_trace(
        go.Bar(
            x=gain,
            y=labels,
            orientation="h",
            name="only this layer in float: error removed",
            marker={"color": theme.WITHIN},
            customdata=[[100 * g, floats[n].sqnr_db] for g, n in zip(gain, names, strict=True)],
            hovertemplate="in float: %{customdata[0]:.1f} % of the error gone, "
            "%{customdata[1]:.1f} dB<extra></extra>",
        ),
        row=1,
        col=2,
    )
    theme.titled(figure, x="", y="", height=max(240, 110 + 30 * len(names)))
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(tickformat=".1~%", nticks=5, tickangle=0)  # a phone has room for five
    figure.update_xaxes(title_font_size=12)
    figure.update_xaxes(
        autorange="reversed", title_text="error alone, of the<br>mean squared error", row=1, col=1
    )
    figure.update_xaxes(title_text="error removed, of the<br>mean squared error", row=1, col=2)
    return figure


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
