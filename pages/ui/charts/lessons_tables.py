"""Lesson 6: a function as the table that it becomes, and what a table costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts import lessons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pages.ui.charts.lessons import Look
    from quantlib.arrays import FloatArray, IntArray
    from quantlib.core.quantizer import UniformQuantizer


def table(
    integers: IntArray,
    exact: FloatArray,
    before: IntArray,
    codes: IntArray,
    grid: UniformQuantizer,
    *,
    look: Look,
) -> go.Figure:
    """The function, the codes of its table, and the same with low bits rounded away.

    Parameters
    ----------
    integers : int64 array, (n,)
        What enters.
    exact : float64 array, (n,)
        The function's value without rounding.
    before, codes : int64 arrays, (n,)
        The table's codes without and with rounding.
    grid : UniformQuantizer
        Of the codes.
    look : Look
        Colours, words and size.
    """
    colours, words = look.palette, look.words
    figure = go.Figure()
    traces = [(words["function"], exact, colours.range, "dot", "linear", 2)]
    if not np.array_equal(before, codes):
        traces.append((words["full"], grid.dequant(before), colours.quiet, "solid", "hv", 2))
    traces.append((words["table"], grid.dequant(codes), colours.back, "solid", "hv", 3))
    shown_codes = {words["full"]: before, words["table"]: codes}
    for name, series, colour, dash, shape, width in traces:
        figure.add_trace(
            go.Scatter(
                x=integers, y=series, mode="lines", name=name,
                line={"color": colour, "dash": dash, "shape": shape, "width": width},
                customdata=shown_codes.get(name),
                hovertemplate=(
                    "%{x} → " + ("q = %{customdata}, " if name in shown_codes else "") + "%{y:.4g}"
                    "<extra>" + name + "</extra>"
                ),
            )
        )  # fmt: skip
    kept = np.flatnonzero(np.diff(codes)) + 1
    if 0 < len(kept) <= 600:
        figure.add_trace(
            go.Scatter(
                x=integers[kept], y=grid.dequant(codes[kept]), mode="markers", name=words["steps"],
                marker={"symbol": "diamond", "size": 9, "color": colours.code},
                customdata=codes[kept], hovertemplate="%{x}: q = %{customdata}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(title_text=words["accumulator"])
    figure.update_yaxes(title_text=words["result"])
    return lessons.finished(figure, look)


def costs(by_width: Mapping[int, int], *, now: int, after: int, look: Look) -> go.Figure:
    """Complexity of one look-up by the width of what enters, with the table's width marked."""
    colours, words = look.palette, look.words
    widths = list(by_width)
    shade = {now: colours.back, after: colours.zero}
    figure = go.Figure(
        go.Bar(
            x=widths, y=[by_width[w] / 1e6 for w in widths], showlegend=False,
            marker={"color": [shade.get(w, colours.quiet) for w in widths]},
            text=[
                f"<b>{words['after']}</b>" if w == after and after != now
                else f"<b>{words['now']}</b>" if w == now else ""
                for w in widths
            ],
            textposition="outside", cliponaxis=False, textfont={"color": colours.ink},
            hovertemplate="%{x} bits: %{y:.4g} million<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(title_text=words["width"], dtick=1)
    figure.update_yaxes(title_text=words["complexity"], type="log", range=[1, 4.6])
    return lessons.finished(figure, look)
