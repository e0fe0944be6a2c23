"""Lesson 4: the four terms of an integer product, and an accumulator that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts import lessons
from quantlib.core.widths import bit_width

if TYPE_CHECKING:
    from pages.ui.charts.lessons import Look
    from quantlib.analysis.neuron import Neuron
    from quantlib.arrays import IntArray
    from quantlib.lessons.products import IntegerProduct


def four_terms(product: IntegerProduct, *, look: Look) -> go.Figure:
    """A waterfall: products, the two sums that zero points correct, the constant, the total."""
    colours, words = look.palette, look.words
    terms = product.terms
    names = ["Σ q₁q₂", "− Z₁ Σ q₂", "− Z₂ Σ q₁", "+ N Z₁Z₂", "="]
    starts = [0, *np.cumsum(terms).tolist()]
    figure = go.Figure()
    shades = (colours.code, colours.zero, colours.zero, colours.range)
    for i, (term, shade) in enumerate(zip(terms, shades, strict=True)):
        figure.add_trace(
            go.Bar(
                x=[names[i]], y=[term], base=[starts[i]], marker={"color": shade},
                text=[f"<b>{term}</b>"], textposition="outside", cliponaxis=False,
                textfont={"color": shade, "size": look.type_size + 1}, showlegend=False,
                hovertemplate=f"{names[i]} = {term}<extra></extra>",
            )
        )  # fmt: skip
    figure.add_trace(
        go.Bar(
            x=[names[4]], y=[product.total], marker={"color": colours.back},
            text=[f"<b>{product.total}</b>"], textposition="outside", cliponaxis=False,
            textfont={"color": colours.back, "size": look.type_size + 1}, showlegend=False,
            hovertemplate="Σ (q₁ − Z₁)(q₂ − Z₂) = %{y}<extra></extra>",
        )
    )  # fmt: skip
    for i, level in enumerate(starts[1:]):
        figure.add_trace(
            go.Scatter(
                x=[names[i], names[i + 1]], y=[level, level], mode="lines", hoverinfo="skip",
                line={"color": colours.range, "dash": "dot", "width": 1}, showlegend=False,
            )
        )  # fmt: skip
    reach = [min(0, *starts), max(0, *starts)]
    room = 0.12 * (reach[1] - reach[0] or 1)
    figure.update_yaxes(title_text=words["integer"], range=[reach[0] - room, reach[1] + room])
    return lessons.finished(figure, look)


def growing(product: IntegerProduct, *, look: Look) -> go.Figure:
    """Both running sums, term by term, between the limits of the integer types they need."""
    count = np.arange(len(product.q1) + 1)
    return _growth(
        [
            (
                look.words["raw"], _from_zero(product.running), look.palette.code, "solid",
                "circle",
            ),
            (
                look.words["corrected"], _from_zero(product.running_accumulator),
                look.palette.back, "dash", "diamond",
            ),
        ],
        count,
        look,
    )  # fmt: skip


def neuron_growing(neuron: Neuron, *, look: Look) -> go.Figure:
    """The accumulator of one neuron of a model, product by product."""
    running = np.concatenate([[neuron.padding], neuron.running])
    count = np.arange(len(running))
    series = [(look.words["corrected"], running, look.palette.back, "solid", "diamond")]
    figure = _growth(series, count, look)
    figure.add_trace(
        go.Bar(
            x=count[1:], y=np.diff(running), name=look.words["each"],
            marker={"color": look.palette.code},
            customdata=np.stack([neuron.q_x, neuron.q_w], axis=1),
            hovertemplate="q_x %{customdata[0]}, q_w %{customdata[1]}: %{y}<extra></extra>",
        )
    )  # fmt: skip
    return figure


def _from_zero(values: IntArray) -> IntArray:
    return np.concatenate([np.zeros(1, dtype=np.int64), values])


def _growth(
    series: list[tuple[str, IntArray, str, str, str]], count: IntArray, look: Look
) -> go.Figure:
    figure = go.Figure()
    low = min(int(values.min()) for _, values, *_ in series)
    high = max(int(values.max()) for _, values, *_ in series)
    for name, values, colour, dash, symbol in series:
        widths = [bit_width(min(0, int(values[: i + 1].min())), int(values[: i + 1].max()))
                  for i in range(len(values))]  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=count, y=values, mode="lines+markers",
                name=f"{name}: {widths[-1]} {look.words['bits']}",
                line={"color": colour, "dash": dash, "shape": "hv", "width": 3},
                marker={"symbol": symbol, "size": 8 if len(count) < 40 else 4},
                customdata=widths,
                hovertemplate="%{x}: %{y}, %{customdata} bits<extra>" + name + "</extra>",
            )
        )  # fmt: skip
    for bits in range(1, 40):
        drawn = [edge for edge in (2**bits, -(2**bits)) if 0.4 * low < edge < 1.05 * high
                 or (1.05 * low < edge < 0 and low < 0)]  # fmt: skip
        for edge in drawn:
            if abs(edge) * 6 < max(high, -low):
                continue
            unsigned = low >= 0
            figure.add_hline(
                y=edge, line={"color": look.palette.scale, "dash": "dot", "width": 1},
                annotation_text=f"{bits if unsigned else bits + 1} {look.words['bits']}",
                annotation_position="bottom left",
                annotation_font_color=look.palette.scale,
            )  # fmt: skip
    figure.update_xaxes(title_text=look.words["terms"])
    figure.update_yaxes(title_text=look.words["integer"])
    return lessons.finished(figure, look)
