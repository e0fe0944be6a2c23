"""Lessons 1 to 3: the real axis with its grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.charts import lessons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pages.ui.charts.lessons import Look
    from quantlib.arrays import FloatArray, IntArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.lessons.ranges import Shrinking

DRAWN = 1001
"""Points of the staircase: more than three on each of 256 steps."""

AROUND = 6
"""Steps to each side of the value in the close view."""


def number_line(
    quantizer: UniformQuantizer, *, value: float, look: Look, around: bool = False
) -> go.Figure:
    """Grid, staircase and error of one quantizer on one real axis, with one value followed.

    `around` shows the neighbourhood of the value only.
    """
    colours, words = look.palette, look.words
    stats = quantizer.quant_stats
    assert stats is not None
    ends = quantizer.dequant(np.array([quantizer.qmin, quantizer.qmax]))
    low, high = min(float(stats.rmin), ends.min()), max(float(stats.rmax), ends.max())
    step = abs(float(quantizer.scale))
    if around:
        low, high = value - AROUND * step, value + AROUND * step
    else:
        reach = 0.08 * max(high - low, step)
        low, high = min(low, value) - reach, max(high, value) + reach
    x = np.linspace(low, high, DRAWN)
    y = quantizer.dequant(quantizer.quant(x))
    code = quantizer.quant(np.array([value]))
    back = float(quantizer.dequant(code)[0])

    figure = make_subplots(
        rows=3, shared_xaxes=True, row_heights=[0.34, 0.38, 0.28], vertical_spacing=0.04
    )
    _axis_with_codes(figure, quantizer, (low, high), int(code[0]), look)
    _followed(figure, value, back, look)
    _step_bracket(figure, quantizer, int(code[0]), look)
    for row in (1, 2, 3):
        _edges(figure, quantizer, (low, high), row, look)
    for row, series, name, colour, dash in (
        (2, x, words["real"], colours.range, "dot"),
        (2, y, words["dequantized"], colours.back, "solid"),
        (3, y - x, words["error"], colours.error, "solid"),
    ):
        figure.add_trace(
            go.Scatter(
                x=x, y=series, mode="lines", name=name,
                line={"color": colour, "dash": dash, "width": 3 if look.large else 2},
                hovertemplate="%{x:.4g} → %{y:.4g}<extra>" + name + "</extra>",
                showlegend=row == 2,
            ),
            row=row, col=1,
        )  # fmt: skip
    for row, at, colour in ((2, back, colours.back), (3, back - value, colours.error)):
        figure.add_trace(
            go.Scatter(
                x=[value], y=[at], mode="markers", showlegend=False,
                marker={"color": colour, "size": 12, "symbol": "diamond"}, hoverinfo="skip",
            ),
            row=row, col=1,
        )  # fmt: skip
    for sign in (-1, 1):
        figure.add_hline(
            y=sign * step / 2,
            line={"color": colours.scale, "dash": "dot", "width": 1},
            row=3,
            col=1,
        )
    figure.add_annotation(
        x=1, xref="x3 domain", y=step / 2, text="S/2", showarrow=False, yshift=9, xanchor="right",
        font={"color": colours.scale}, row=3, col=1,
    )  # fmt: skip
    figure.update_yaxes(visible=False, range=[-1.1, 1.75], row=1, col=1)
    figure.update_yaxes(title_text="x̂", nticks=4, row=2, col=1)
    figure.update_yaxes(title_text="x̂ − x", nticks=3, row=3, col=1)
    if around:
        figure.update_yaxes(range=[back - 4 * step, back + 4 * step], row=2, col=1)
        figure.update_yaxes(range=[-1.2 * step, 1.2 * step], row=3, col=1)
    figure.update_xaxes(title_text=words["axis"], row=3, col=1)
    figure.update_xaxes(range=[low, high])
    figure.update_layout(showlegend=not look.large)  # the formula beside names the colours
    return lessons.finished(figure, look)


def _axis_with_codes(
    figure: go.Figure,
    quantizer: UniformQuantizer,
    window: tuple[float, float],
    code: int,
    look: Look,
) -> None:
    """Draw the real axis, the codes as ticks, their numbers, and real zero."""
    colours = look.palette
    qmin, qmax = quantizer.qmin, quantizer.qmax
    scale, zero_point = float(quantizer.scale), quantizer.zero_point
    seen = sorted(np.rint(np.array(window) / scale + zero_point).tolist())
    qmin, qmax = int(max(qmin, seen[0])), int(min(qmax, seen[1]))
    if qmin > qmax:
        qmin, qmax = quantizer.qmin, quantizer.qmax
    ticks = lessons.drawn_codes(qmin, qmax)
    figure.add_hline(y=0, line={"color": colours.ink, "width": 1}, row=1, col=1)
    figure.add_trace(
        go.Scatter(
            x=quantizer.dequant(ticks), y=np.zeros(len(ticks)), mode="markers",
            name=look.words["codes"],
            marker={
                "symbol": "line-ns-open", "size": 18, "color": colours.code,
                "line": {"width": 2 if len(ticks) < 70 else 1},
            },
            customdata=ticks, hovertemplate="q = %{customdata} ↔ %{x:.5g}<extra></extra>",
        ),
        row=1, col=1,
    )  # fmt: skip
    named = lessons.labelled_codes(qmin, qmax, 7 if look.large else 9, always=code)
    figure.add_trace(
        go.Scatter(
            x=quantizer.dequant(named), y=np.full(len(named), -0.75), mode="text",
            text=[f"<b>{q}</b>" if q == code else str(q) for q in named],
            showlegend=False, hoverinfo="skip",
            textfont={"size": look.type_size, "color": colours.code},
        ),
        row=1, col=1,
    )  # fmt: skip
    if window[0] <= 0 <= window[1]:
        for row in (1, 2, 3):
            figure.add_vline(x=0, line={"color": colours.zero, "width": 1.5}, row=row, col=1)
        figure.add_annotation(
            x=0, y=1.55, text=f"<b>0 ↔ Z = {zero_point}</b>", showarrow=False, xanchor="left",
            xshift=4, font={"color": colours.zero}, row=1, col=1,
        )  # fmt: skip


def _followed(figure: go.Figure, value: float, back: float, look: Look) -> None:
    """Draw the value above the axis, and the code that it snaps to."""
    colours = look.palette
    figure.add_trace(
        go.Scatter(
            x=[value, back], y=[0.95, 0.0], mode="lines+markers+text", showlegend=False,
            line={"color": colours.value, "dash": "dot"},
            text=["<b>x</b>", ""], textposition="middle right",
            textfont={"size": look.type_size + 2, "color": colours.value},
            marker={
                "symbol": ["circle", "diamond"], "size": [13, 14],
                "color": [colours.value, colours.back],
            },
            hovertemplate="%{x:.5g}<extra></extra>",
        ),
        row=1, col=1,
    )  # fmt: skip


def _step_bracket(figure: go.Figure, quantizer: UniformQuantizer, code: int, look: Look) -> None:
    """Draw one step between two codes."""
    if quantizer.qmin == quantizer.qmax:
        return
    first = code if code < quantizer.qmax else code - 1
    pair = quantizer.dequant(np.array([first, first + 1]))
    figure.add_trace(
        go.Scatter(
            x=pair, y=[-0.32, -0.32], mode="lines", name=look.words["step"],
            line={"color": look.palette.scale, "width": 5},
            hovertemplate=f"S = {float(quantizer.scale):.5g}<extra></extra>",
        ),
        row=1, col=1,
    )  # fmt: skip


def _edges(
    figure: go.Figure,
    quantizer: UniformQuantizer,
    window: tuple[float, float],
    row: int,
    look: Look,
) -> None:
    """Draw alpha and beta."""
    stats = quantizer.quant_stats
    assert stats is not None
    for edge, label in ((float(stats.rmin), "α"), (float(stats.rmax), "β")):
        if not window[0] <= edge <= window[1]:
            continue
        figure.add_vline(
            x=edge, line={"color": look.palette.range, "dash": "dash", "width": 1.5}, row=row, col=1
        )
        if row == 1:
            figure.add_annotation(
                x=edge, y=1.55, text=f"<b>{label}</b>", showarrow=False, row=1, col=1,
                xanchor="right" if label == "α" else "left", xshift=-4 if label == "α" else 4,
                font={"color": look.palette.range},
            )  # fmt: skip


def shrinking_range(found: Shrinking, *, reach: float, look: Look) -> go.Figure:
    """Rounding and clipping error of a bell against half its range; the sum has a minimum."""
    colours, words = look.palette, look.words
    figure = go.Figure()
    for series, name, colour, dash in (
        (found.rounding, words["rounding"], colours.scale, "dash"),
        (found.clipping, words["clipping"], colours.error, "dot"),
        (found.rounding + found.clipping, words["whole"], colours.ink, "solid"),
    ):
        figure.add_trace(
            go.Scatter(
                x=found.reach, y=np.where(series > 0, series, np.nan), mode="lines", name=name,
                line={"color": colour, "dash": dash, "width": 3},
                hovertemplate="±%{x:.2f} σ: %{y:.3g}<extra>" + name + "</extra>",
            )
        )  # fmt: skip
    whole = found.rounding + found.clipping
    for at, label, symbol in (
        (found.best, words["best"], "star"),
        (reach, words["chosen"], "circle"),
    ):
        place = int(np.argmin(np.abs(found.reach - at)))
        figure.add_trace(
            go.Scatter(
                x=[found.reach[place]], y=[whole[place]], mode="markers", name=label,
                marker={"symbol": symbol, "size": 15, "color": colours.back},
                hovertemplate="±%{x:.2f} σ: %{y:.3g}<extra>" + label + "</extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(title_text=words["reach"])
    figure.update_yaxes(title_text=words["squared_error"], type="log", exponentformat="power")
    return lessons.finished(figure, look)


def schemes(
    grids: Mapping[str, UniformQuantizer], *, chosen: str, ends: tuple[float, float], look: Look
) -> go.Figure:
    """One grid per scheme over the same range: used and wasted codes, and the code of zero."""
    colours, words = look.palette, look.words
    figure = go.Figure()
    names = list(grids)
    for label, used in ((words["used"], True), (words["wasted"], False)):
        x: list[float] = []
        y: list[int] = []
        codes: list[int] = []
        for row, name in enumerate(reversed(names)):
            grid = grids[name]
            every = np.arange(grid.qmin, grid.qmax + 1)
            hit = used_codes(grid, ends)
            kept = (
                every[(every >= hit[0]) & (every <= hit[1])]
                if used
                else np.concatenate([every[every < hit[0]], every[every > hit[1]]])
            )
            x += grid.dequant(kept).tolist()
            y += [row] * len(kept)
            codes += kept.tolist()
        colour = colours.code if used else colours.error
        figure.add_trace(
            go.Scatter(
                x=x, y=y, mode="markers", name=label, customdata=codes,
                marker={
                    "symbol": "line-ns-open" if used else "x-thin-open", "size": 16 if used else 8,
                    "color": colour, "line": {"width": 2},
                },
                hovertemplate="q = %{customdata} ↔ %{x:.4g}<extra></extra>",
            )
        )  # fmt: skip
    zeros = [grids[name].zero_point for name in reversed(names)]
    rows = list(range(len(names)))
    figure.add_trace(
        go.Scatter(
            x=[0.0] * len(names), y=rows, mode="markers+text", name=words["zero"],
            text=[f"<b>Z = {zero}</b>" for zero in zeros], textposition="top right",
            textfont={"size": look.type_size, "color": colours.zero},
            marker={"symbol": "diamond", "size": 13, "color": colours.zero},
            hovertemplate="Z<extra></extra>",
        )
    )  # fmt: skip
    figure.add_vline(x=0, line={"color": colours.zero, "width": 1})
    for edge, label in zip(ends, ("α", "β"), strict=True):
        figure.add_vline(x=edge, line={"color": colours.range, "dash": "dash", "width": 1.5})
        figure.add_annotation(
            x=edge, y=len(names) - 0.35, text=f"<b>{label}</b>", showarrow=False,
            font={"color": colours.range},
        )  # fmt: skip
    here = len(names) - 1 - names.index(chosen)
    figure.add_hrect(
        y0=here - 0.45, y1=here + 0.48, fillcolor=colours.scale, opacity=0.1, line_width=0
    )
    figure.update_yaxes(
        tickvals=rows,
        ticktext=[words[f"scheme_{name}"] for name in reversed(names)],
        range=[-0.6, len(names) - 0.15],
    )
    figure.update_xaxes(title_text=words["axis"], zeroline=False)
    return lessons.finished(figure, look)


def used_codes(grid: UniformQuantizer, ends: tuple[float, float]) -> tuple[int, int]:
    """Return the lowest and highest code that values of a range map to."""
    low, high = sorted(grid.quant(np.array(ends)).tolist())
    return int(low), int(high)


def ties(grid: UniformQuantizer, *, look: Look) -> go.Figure:
    """Codes of values half-way between two codes, rounded after and before Z is added."""
    colours, words = look.palette, look.words
    steps = np.arange(-5, 6) + 0.5
    zero_point = int(np.ravel(grid.zero_point)[0])
    after = np.rint(steps + zero_point)
    before = np.rint(steps) + zero_point
    figure = go.Figure()
    for x, (a, b) in zip(steps, zip(after, before, strict=True), strict=True):
        figure.add_trace(
            go.Scatter(
                x=[x, x], y=[a, b], mode="lines", showlegend=False, hoverinfo="skip",
                line={"color": colours.error, "width": 3},
            )
        )  # fmt: skip
    for codes, name, colour, symbol in (
        (after, words["after"], colours.code, "diamond"),
        (before, words["before"], colours.scale, "circle-open"),
    ):
        figure.add_trace(
            go.Scatter(
                x=steps, y=codes, mode="markers", name=name,
                marker={"size": 14, "symbol": symbol, "color": colour, "line": {"width": 3}},
                hovertemplate="x/S = %{x}: q = %{y}<extra>" + name + "</extra>",
            )
        )  # fmt: skip
    figure.update_xaxes(title_text="x / S", dtick=1)
    figure.update_yaxes(title_text=words["codes"], dtick=1 if not look.large else 2)
    return lessons.finished(figure, look)


def snapped(
    values: FloatArray, codes: IntArray, grid: UniformQuantizer, *, look: Look
) -> go.Figure:
    """Values of an array above the axis, each joined with the code below that it gets."""
    colours, words = look.palette, look.words
    back = grid.dequant(codes)
    figure = go.Figure()
    for x, y in zip(values, back, strict=True):
        figure.add_trace(
            go.Scatter(
                x=[x, y], y=[1.0, 0.0], mode="lines", showlegend=False, hoverinfo="skip",
                line={"color": colours.value, "width": 1, "dash": "dot"},
            )
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=values, y=np.ones(len(values)), mode="markers", name=words["values"],
            marker={"size": 13, "color": colours.value},
            hovertemplate="x = %{x:.6g}<extra></extra>",
        )
    )  # fmt: skip
    ticks = lessons.drawn_codes(grid.qmin, grid.qmax)
    figure.add_trace(
        go.Scatter(
            x=grid.dequant(ticks), y=np.zeros(len(ticks)), mode="markers", name=words["codes"],
            marker={
                "symbol": "line-ns-open", "size": 18, "color": colours.code, "line": {"width": 2},
            },
            customdata=ticks, hovertemplate="q = %{customdata} ↔ %{x:.5g}<extra></extra>",
        )
    )  # fmt: skip
    places, first = np.unique(codes, return_index=True)
    named = _spread(grid.dequant(places))
    figure.add_trace(
        go.Scatter(
            x=back[first][named], y=np.full(int(named.sum()), -0.28), mode="text",
            text=[f"<b>{code}</b>" for code in places[named]], showlegend=False, hoverinfo="skip",
            textfont={"size": look.type_size + 2, "color": colours.code},
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=back, y=np.zeros(len(back)), mode="markers", name=words["back"],
            marker={"symbol": "diamond", "size": 12, "color": colours.back},
            customdata=codes, hovertemplate="q = %{customdata} ↔ %{x:.6g}<extra></extra>",
        )
    )  # fmt: skip
    figure.add_vline(x=0, line={"color": colours.zero, "width": 1.5})
    figure.add_annotation(
        x=0, y=1.42, text=f"<b>0 ↔ Z = {grid.zero_point}</b>", showarrow=False, xanchor="left",
        xshift=4, font={"color": colours.zero},
    )  # fmt: skip
    figure.update_yaxes(
        range=[-0.6, 1.6], tickvals=[0, 1], ticktext=[words["grid"], words["array"]]
    )
    figure.update_xaxes(title_text=words["axis"], zeroline=False)
    return lessons.finished(figure, look)


def _spread(places: FloatArray) -> IntArray:
    """Tell which of ascending places are far enough apart to carry a number."""
    keep = np.zeros(len(places), dtype=bool)
    order = np.argsort(places)
    span = float(np.ptp(places)) or 1.0
    last = -np.inf
    for i in order:
        if places[i] - last >= span / 22:
            keep[i], last = True, float(places[i])
    return keep
