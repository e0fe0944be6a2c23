"""Lesson 5: accumulator width by the number of products, and bits that are rounded away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.charts import lessons, theme
from quantlib.lessons.fan_in import without_low_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pages.ui.charts.lessons import Look
    from quantlib.lessons.fan_in import Growth

GENERATIONS = (7, 8, 16)
"""Limits of three generations of Concrete, bits."""


def by_fan_in(
    growth: Growth,
    *,
    limit: int,
    largest: int,
    layers: Sequence[tuple[str, int, int]],
    look: Look,
) -> go.Figure:
    """Three widths against the number of products, limits as lines, the model's layers as marks.

    `layers` are names, fan-ins and widths seen on data.
    """
    colours, words = look.palette, look.words
    figure = go.Figure()
    for series, name, colour, dash in (
        (growth.types, words["types"], colours.error, "solid"),
        (growth.weights, words["weights"], colours.code, "dash"),
        (growth.data, words["data"], colours.scale, "dot"),
    ):
        figure.add_trace(
            go.Scatter(
                x=growth.fan_in, y=series, mode="lines", name=name, showlegend=False,
                line={"color": colour, "dash": dash, "shape": "hv", "width": 3},
                hovertemplate="%{x}: %{y} bits<extra>" + name + "</extra>",
            )
        )  # fmt: skip
        figure.add_annotation(
            x=np.log10(growth.fan_in[-1]), y=int(series[-1]), text=f"<b>{name}</b>",
            showarrow=False, xanchor="right", yanchor="bottom", font={"color": colour},
        )  # fmt: skip
    if layers:
        figure.add_trace(
            go.Scatter(
                x=[fan_in for _, fan_in, _ in layers], y=[bits for *_, bits in layers],
                mode="markers", name=words["layers"],
                marker={"symbol": "star", "size": 13, "color": colours.value},
                customdata=[theme.plain(name) for name, *_ in layers],
                hovertemplate="%{customdata}: %{x}, %{y} bits<extra></extra>",
            )
        )  # fmt: skip
    for bits in GENERATIONS:
        figure.add_hline(
            y=bits,
            line={
                "color": colours.zero, "width": 3 if bits == limit else 1,
                "dash": "solid" if bits == limit else "dash",
            },
            annotation_text=f"<b>{bits} {words['bits']}</b>", annotation_position="top left",
            annotation_font_color=colours.zero,
        )  # fmt: skip
    if 0 < largest <= int(growth.fan_in[-1]):
        figure.add_trace(
            go.Scatter(
                x=[largest], y=[limit], mode="markers+text", name=words["largest"],
                showlegend=False,
                text=[f"<b>{largest}</b>"], textposition="bottom right",
                textfont={"color": colours.zero, "size": look.type_size + 2},
                marker={"symbol": "diamond", "size": 15, "color": colours.zero},
                hovertemplate="%{x}<extra></extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(
        title_text=words["fan_in"], type="log",
        tickvals=[1, 4, 16, 64, 256, 1024, 4096],
    )  # fmt: skip
    figure.update_yaxes(title_text=words["width"], rangemode="tozero")
    return lessons.finished(figure, look)


def rounded_away(width: int, threshold: int, value: int, *, look: Look) -> go.Figure:
    """The bits of an accumulator: which enter the table, and the staircase that is left."""
    colours, words = look.palette, look.words
    removed = max(0, width - threshold)
    figure = make_subplots(rows=2, row_heights=[0.34, 0.66], vertical_spacing=0.2)
    bits = [(value >> i) & 1 for i in range(width)][::-1]
    places = np.arange(width)
    gone = places >= width - removed
    for mask, name, colour, pattern, digits in (
        (~gone, words["kept"], colours.code, "", look.palette.ground),
        (gone, words["removed"], colours.quiet, "/", colours.ink),
    ):
        if mask.any():
            figure.add_trace(
                go.Bar(
                    x=places[mask], y=np.ones(int(mask.sum())), name=name, width=0.9,
                    text=[f"<b>{bits[i]}</b>" for i in places[mask]], textposition="inside",
                    insidetextanchor="middle",
                    textfont={"size": look.type_size + 3, "color": digits},
                    textangle=0,
                    marker={"color": colour, "pattern": {"shape": pattern}}, hoverinfo="skip",
                ),
                row=1, col=1,
            )  # fmt: skip
    step = 1 << removed
    low = max(0, (value // step - 3) * step)
    x = np.arange(low, low + max(7 * step, 16) + 1)
    if len(x) > 4001:
        x = np.unique(np.linspace(x[0], x[-1], 4001).astype(np.int64))
    for series, name, colour, dash in (
        (x, words["before"], colours.range, "dot"),
        (without_low_bits(x, removed), words["after"], colours.back, "solid"),
    ):
        figure.add_trace(
            go.Scatter(
                x=x, y=series, mode="lines", name=name,
                line={"color": colour, "dash": dash, "width": 3},
                hovertemplate="%{x} → %{y}<extra></extra>",
            ),
            row=2, col=1,
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=[value], y=[int(without_low_bits(np.array([value]), removed)[0])], mode="markers",
            showlegend=False, marker={"symbol": "diamond", "size": 13, "color": colours.back},
            hovertemplate="%{x} → %{y}<extra></extra>",
        ),
        row=2, col=1,
    )  # fmt: skip
    figure.update_yaxes(visible=False, range=[0, 1.05], row=1, col=1)
    figure.update_xaxes(
        tickvals=places, ticktext=[f"{i}" for i in range(width)][::-1], title_text=words["bit"],
        row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(title_text=words["accumulator"], row=2, col=1)
    figure.update_yaxes(title_text=words["rounded"], row=2, col=1)
    return lessons.finished(figure, look)
