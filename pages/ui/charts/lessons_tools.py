"""Lesson 10: one tensor on the grids of several tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts import lessons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pages.ui.charts.lessons import Look
    from quantlib.arrays import FloatArray
    from quantlib.conventions import Conversion

NAMED = 12
"""Values that carry their code."""


def conventions(values: FloatArray, made: Mapping[str, Conversion], *, look: Look) -> go.Figure:
    """The tensor on top, a grid per tool below it, its codes as numbers."""
    colours, words = look.palette, look.words
    tools = list(made)
    top = len(tools)
    tick, dot = (9, 8) if look.large else (15, 10)
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=values, y=np.full(len(values), top), mode="markers", name=words["values"],
            marker={"size": 12, "color": colours.value},
            hovertemplate="x = %{x:.6g}<extra></extra>",
        )
    )  # fmt: skip
    grid_x: list[float] = []
    grid_y: list[float] = []
    for row, tool in enumerate(reversed(tools)):
        found = made[tool]
        codes = lessons.drawn_codes(found.qmin, found.qmax, 65)
        grid_x += (found.scale * (codes - found.zero_point)).tolist()
        grid_y += [row] * len(codes)
    figure.add_trace(
        go.Scatter(
            x=grid_x, y=grid_y, mode="markers", name=words["grid"], hoverinfo="skip",
            marker={"symbol": "line-ns-open", "size": tick, "color": colours.code},
        )
    )  # fmt: skip
    for row, tool in enumerate(reversed(tools)):
        found = made[tool]
        figure.add_trace(
            go.Scatter(
                x=found.reals, y=np.full(len(values), float(row)), mode="markers",
                showlegend=row == 0, name=words["back"], customdata=found.codes,
                marker={"symbol": "diamond", "size": dot, "color": colours.back},
                hovertemplate=f"{tool}: q = %{{customdata}} ↔ %{{x:.6g}}<extra></extra>",
            )
        )  # fmt: skip
        _numbers(figure, values, found, row, look)
    figure.add_vline(x=0, line={"color": colours.zero, "width": 1.5})
    points = {tool: "" if look.large else f"<br>Z = {made[tool].zero_point}" for tool in tools}
    names = [f"{tool}{points[tool]}" for tool in reversed(tools)]
    figure.update_yaxes(
        tickvals=[*range(top), top], ticktext=[*names, words["tensor"]], range=[-0.7, top + 0.5]
    )
    figure.update_xaxes(title_text=words["axis"], zeroline=False)
    return lessons.finished(figure, look)


def _numbers(
    figure: go.Figure, values: FloatArray, found: Conversion, row: int, look: Look
) -> None:
    """Write the codes under the grid, those that are far enough apart."""
    order = np.argsort(found.reals)
    span = float(np.ptp(values)) or 1.0
    last, keep = -np.inf, []
    for i in order:
        if found.reals[i] - last >= span / NAMED:
            keep.append(int(i))
            last = float(found.reals[i])
    figure.add_trace(
        go.Scatter(
            x=found.reals[keep], y=np.full(len(keep), row - 0.4), mode="text",
            text=[f"<b>{found.codes[i]}</b>" for i in keep], showlegend=False, hoverinfo="skip",
            textfont={"size": look.type_size, "color": look.palette.code},
        )
    )  # fmt: skip
