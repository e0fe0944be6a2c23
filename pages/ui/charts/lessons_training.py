"""Lesson 8: one model at several widths, quantized after training and while training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.charts import lessons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pages.ui.charts.lessons import Look
    from quantlib.questions.learn import AtWidth


def by_width(
    after: Sequence[AtWidth], trained: Sequence[AtWidth], *, chosen: int, look: Look
) -> go.Figure:
    """The figure of merit by width, and the share of weights that round to zero.

    `trained` are models trained with their grids; there may be none.
    """
    colours, words = look.palette, look.words
    first = after[0]
    factor = 100 if first.name in ("accuracy", "agreement") else 1
    unit = " (%)" if factor == 100 else " (dB)" if first.name == "SQNR" else ""
    figure = make_subplots(
        rows=2, shared_xaxes=True, row_heights=[0.62, 0.38], vertical_spacing=0.08
    )
    if first.name != "SQNR":
        figure.add_hline(
            y=factor * first.float_figure, line={"color": colours.range, "dash": "dash"},
            annotation_text=words["float"], annotation_position="bottom right",
            annotation_font_color=colours.range, row=1, col=1,
        )  # fmt: skip
    for points, name, colour, symbol, mode in (
        (after, words["after"], colours.scale, "circle", "lines+markers"),
        (trained, words["trained"], colours.zero, "star", "lines+markers"),
    ):
        if points:
            figure.add_trace(
                go.Scatter(
                    x=[p.n_bits for p in points], y=[factor * p.figure for p in points],
                    mode=mode, name=name, line={"color": colour, "width": 3},
                    marker={"symbol": symbol, "size": 15 if symbol == "star" else 11},
                    hovertemplate="%{x} bits: %{y:.4g}<extra>" + name + "</extra>",
                ),
                row=1, col=1,
            )  # fmt: skip
            figure.add_trace(
                go.Bar(
                    x=[p.n_bits for p in points], y=[100 * p.zero_share for p in points],
                    showlegend=False, marker={
                        "color": colour, "pattern": {"shape": "" if points is after else "/"},
                    },
                    hovertemplate="%{x} bits: %{y:.3g} %<extra>" + name + "</extra>",
                ),
                row=2, col=1,
            )  # fmt: skip
    figure.add_vrect(
        x0=chosen - 0.45, x1=chosen + 0.45, fillcolor=colours.code, opacity=0.18, line_width=0,
        row="all", col=1,
    )  # fmt: skip
    label = words.get(first.name, first.name)
    figure.update_yaxes(title_text=f"{label}{unit}", row=1, col=1)
    figure.update_yaxes(title_text=words["zeros"], row=2, col=1, rangemode="tozero")
    figure.update_xaxes(title_text=words["width"], dtick=1, row=2, col=1)
    return lessons.finished(figure, look)
