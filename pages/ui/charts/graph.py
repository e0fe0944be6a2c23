"""The model as a graph: a few traces whatever its size, so that a thousand nodes stay fluent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale, unlabel_rgb

from pages.ui.charts import theme
from quantlib.analysis.diagram import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from quantlib.analysis.diagram import Diagram, Vertex
    from quantlib.arrays import FloatArray

HEIGHT = 640
HALF_WIDTH, HALF_HEIGHT = 0.45, 0.31
"""Of a box, in steps of the layout."""

ROWS, COLUMNS = 11, 4.4
"""Most layers and boxes side by side that the first view shows, so that labels can be read."""

LABELLED = 40
"""Layers above and below the first view whose boxes have labels; all others on hover."""

BINS = 12
"""Shades of a measure: each is one trace."""

RING = "#CC79A7"
HOLLOW = "#DADADA"
"""A vertex without a value: dark text reads on it whatever the page's ground."""

KINDS = {
    Kind.INTEGER: theme.GRID,
    Kind.FUNCTION: theme.DEQUANTIZED,
    Kind.ISLAND: HOLLOW,
    Kind.BLOCK: theme.WITHIN,
    Kind.MARK: HOLLOW,
    Kind.END: HOLLOW,
}
"""Colour of each kind; its shape is the second cue."""

_DARK, _LIGHT = "#000000", "#FFFFFF"
_LINE = theme.FLOAT


@dataclass(frozen=True, slots=True, eq=False)
class Colours:
    """How vertices are coloured by a measure.

    Parameters
    ----------
    title : str
        What stands at the colour bar.
    values : tuple of float or None
        By vertex; one without is hollow.
    is_signed : bool
        0 is the middle of the colours.
    """

    title: str
    values: tuple[float | None, ...]
    is_signed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """Where things stand.

    Parameters
    ----------
    x, y : float64 arrays, (vertices,)
        Centres.
    routes : sequence of float64 arrays, (points, 2)
        Way of each edge.
    routed : sequence of bool
        False for an edge that is drawn straight, and so faintly, over what lies between.
    """

    x: FloatArray
    y: FloatArray
    routes: Sequence[FloatArray]
    routed: Sequence[bool]


def model_graph(
    diagram: Diagram,
    drawing: Drawing,
    *,
    hover: Sequence[str],
    colours: Colours | None = None,
    over: Sequence[bool] = (),
    found: int | None = None,
    whole: bool = False,
    height: int = HEIGHT,
) -> go.Figure:
    """The model in layers from top to bottom; integer operators as boxes, functions as pills.

    Parameters
    ----------
    diagram : Diagram
        What is drawn.
    drawing : Drawing
        Where.
    hover : sequence of str
        What is said at each vertex, as chart text.
    colours : Colours, optional
        A measure; by kind when not given.
    over : sequence of bool
        By vertex: framed as beyond the limit.
    found : int, optional
        The vertex that is ringed and in the middle of the first view.
    whole : bool
        Whether the first view is the whole graph, however large.
    height : int
        Pixels.
    """
    view = _view(drawing, found, whole=whole)
    figure = go.Figure()
    for trace in _edges(diagram, drawing):
        figure.add_trace(trace)
    for trace in _fills(diagram, drawing, colours):
        figure.add_trace(trace)
    for trace in _frames(diagram, drawing, over, found):
        figure.add_trace(trace)
    for trace in _labels(diagram, drawing, colours, view):
        figure.add_trace(trace)
    figure.add_trace(_moves(diagram, drawing))
    figure.add_trace(_targets(diagram, drawing, hover))
    if colours is not None:
        figure.add_trace(_bar(colours))
    x0, x1, y0, y1 = view
    figure.update_xaxes(visible=False, range=[x0, x1])
    figure.update_yaxes(visible=False, range=[y0, y1])
    theme.framed(figure, height=height)
    figure.update_layout(
        dragmode="pan",
        hovermode="closest",
        hoverdistance=70,
        margin={"l": 0, "r": 0, "t": 10, "b": 0},
        uirevision=f"{len(diagram.vertices)} {found}",
    )
    return figure


def _view(drawing: Drawing, found: int | None, *, whole: bool) -> tuple[float, float, float, float]:
    """Return the ends of the first view: all, or as much as can be read around what was found."""
    x, y = drawing.x, drawing.y
    left, right = float(x.min()) - 0.6, float(x.max()) + 0.6
    low, high = float(y.min()) - 0.6, float(y.max()) + 0.6
    width, rows = max(right - left, 3.0), max(high - low, 4.0)
    centre = (left + right) / 2, (low + high) / 2
    if not whole and (width > COLUMNS or rows > ROWS + 1):
        first = 0 if found is None else found
        at = float(x[first]), float(y[first])
        shown = min(width, COLUMNS), min(rows, float(ROWS))
        if width > COLUMNS:
            centre = at[0], centre[1]
        if rows > ROWS + 1:
            middle = min(max(at[1], low + shown[1] / 2), high - shown[1] / 2)
            centre = centre[0], middle
        width, rows = shown
    return (
        centre[0] - width / 2,
        centre[0] + width / 2,
        centre[1] - rows / 2,
        centre[1] + rows / 2,
    )


def _edges(diagram: Diagram, drawing: Drawing) -> list[go.Scatter]:
    """Return all ways as two lines: those that were laid, and those that are only hinted at."""
    shown = _shortened(diagram, drawing)
    traces = []
    for laid in (True, False):
        ways = [way for way, routed in zip(shown, drawing.routed, strict=True) if routed == laid]
        if ways:
            x, y = _path(ways)
            traces.append(
                go.Scatter(
                    x=x,
                    y=y,
                    mode="lines",
                    line={"color": _LINE, "width": 1.5 if laid else 1},
                    opacity=0.9 if laid else 0.25,
                    hoverinfo="skip",
                    showlegend=False,
                    name="edges",
                )
            )
    return traces


def _shortened(diagram: Diagram, drawing: Drawing) -> list[FloatArray]:
    """Return the ways from the lower end of a box to the upper end of the next."""
    heights = [_OUTLINES[vertex.kind][:, 1].max() for vertex in diagram.vertices]
    ways = []
    for edge, route in zip(diagram.edges, drawing.routes, strict=True):
        way = route.copy()
        way[0, 1] -= heights[edge.source]
        way[-1, 1] += heights[edge.target]
        ways.append(way)
    return ways


def _path(polygons: Iterable[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Return polygons as one line with gaps."""
    gap = np.full((1, 2), np.nan)
    points = np.concatenate([part for polygon in polygons for part in (polygon, gap)])
    return points[:, 0], points[:, 1]


def _rectangle(width: float, height: float) -> FloatArray:
    return np.array(
        [(-width, -height), (width, -height), (width, height), (-width, height), (-width, -height)]
    )


def _pill(width: float, height: float) -> FloatArray:
    """Return a box with round ends; a step up is about 0.4 of a step right on the screen."""
    turn = np.linspace(-np.pi / 2, np.pi / 2, 9)
    radius = height * 0.35
    right = np.column_stack([width - radius + radius * np.cos(turn), height * np.sin(turn)])
    return np.concatenate([right, -right, right[:1]])


def _stack(width: float, height: float) -> FloatArray:
    """Return a box with the corner of another behind it."""
    dx, dy = 0.03, 0.07
    return np.array(
        [
            (-width, -height), (width - dx, -height), (width - dx, height - dy),
            (-width, height - dy), (-width, -height), (width - dx, -height),
            (width - dx, -height + dy), (width, -height + dy), (width, height),
            (-width + dx, height), (-width + dx, height - dy), (width - dx, height - dy),
            (width - dx, -height),
        ]
    )  # fmt: skip


def _flag(width: float, height: float) -> FloatArray:
    """Return a six-sided box: where values enter or leave."""
    cut = 0.1
    return np.array(
        [
            (-width, 0), (-width + cut, -height), (width - cut, -height), (width, 0),
            (width - cut, height), (-width + cut, height), (-width, 0),
        ]
    )  # fmt: skip


_OUTLINES: Mapping[Kind, FloatArray] = {
    Kind.INTEGER: _rectangle(HALF_WIDTH, HALF_HEIGHT),
    Kind.FUNCTION: _pill(HALF_WIDTH, HALF_HEIGHT * 0.95),
    Kind.ISLAND: _rectangle(HALF_WIDTH, HALF_HEIGHT),
    Kind.MARK: _rectangle(HALF_WIDTH * 0.6, HALF_HEIGHT * 0.6),
    Kind.END: _flag(HALF_WIDTH * 0.8, HALF_HEIGHT * 0.6),
    Kind.BLOCK: _stack(HALF_WIDTH, HALF_HEIGHT * 1.1),
}


def _outlines(diagram: Diagram, drawing: Drawing, indices: Iterable[int]) -> list[FloatArray]:
    return [_OUTLINES[diagram.vertices[i].kind] + (drawing.x[i], drawing.y[i]) for i in indices]


def _fills(diagram: Diagram, drawing: Drawing, colours: Colours | None) -> list[go.Scatter]:
    """Return one trace per colour (and kind, where kinds are the colours)."""
    groups: dict[tuple[str, str], list[int]] = {}
    if colours is None:
        for i, vertex in enumerate(diagram.vertices):
            groups.setdefault((str(vertex.kind), KINDS[vertex.kind]), []).append(i)
    else:
        for i, colour in enumerate(_shades(colours)):
            groups.setdefault(("", colour), []).append(i)
    traces = []
    for (name, colour), indices in groups.items():
        x, y = _path(_outlines(diagram, drawing, indices))
        island = name == Kind.ISLAND
        traces.append(
            go.Scatter(
                x=x,
                y=y,
                mode="lines",
                fill="toself",
                fillcolor=colour,
                line={
                    "color": colour if name and colour != HOLLOW else _LINE,
                    "width": 2 if island else 1.2,
                    "dash": "dash" if island else "solid",
                },
                hoverinfo="skip",
                name=name or "vertices",
                showlegend=bool(name),
                legendrank=list(map(str, KINDS)).index(name) if name else 1000,
            )
        )
    return traces


def _limits(colours: Colours) -> tuple[float, float]:
    """Return the values at the ends of the colours; infinite ones lie at the end."""
    known = [v for v in colours.values if v is not None and math.isfinite(v)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if colours.is_signed:
        high = max(abs(low), abs(high)) or 1.0
        low = -high
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _shades(colours: Colours) -> list[str]:
    """Return each vertex's colour, in `BINS` steps."""
    low, high = _limits(colours)
    scale = "PuOr" if colours.is_signed else theme.MAGNITUDE
    steps = [(b + 0.5) / BINS for b in range(BINS)]
    shades = sample_colorscale(scale, steps)
    return [
        HOLLOW
        if value is None or math.isnan(value)
        else shades[int(min(BINS - 1, max(0.0, (value - low) / (high - low) * BINS)))]
        if math.isfinite(value)
        else shades[0 if value < 0 else -1]
        for value in colours.values
    ]


def _bar(colours: Colours) -> go.Scatter:
    """Return an invisible mark that brings the colour bar."""
    low, high = _limits(colours)
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker={
            "color": [low],
            "cmin": low,
            "cmax": high,
            "colorscale": "PuOr" if colours.is_signed else theme.MAGNITUDE,
            "showscale": True,
            "colorbar": {
                "title": {"text": colours.title, "side": "right"},
                "thickness": 12,
                "len": 0.6,
                "y": 1,
                "yanchor": "top",
            },
        },
        hoverinfo="skip",
        showlegend=False,
        name="scale",
    )


def _frames(
    diagram: Diagram, drawing: Drawing, over: Sequence[bool], found: int | None
) -> list[go.Scatter]:
    """Return the frames of what is beyond the limit and of what was found; dashes of islands."""
    series = [
        ("over the limit", [i for i, beyond in enumerate(over) if beyond], theme.OVER, 4, "solid"),
        ("selected", [] if found is None else [found], RING, 5, "solid"),
    ]
    traces = []
    for name, indices, colour, width, dash in series:
        if not indices:
            continue
        x, y = _path(_outlines(diagram, drawing, indices))
        traces.append(
            go.Scatter(
                x=x,
                y=y,
                mode="lines",
                line={"color": colour, "width": width, "dash": dash},
                name=name,
                hoverinfo="skip",
            )
        )
    return traces


def _labels(
    diagram: Diagram,
    drawing: Drawing,
    colours: Colours | None,
    view: tuple[float, float, float, float],
) -> list[go.Scatter]:
    """Return the labels near the first view, dark on light colours and light on dark ones."""
    shades = (
        [KINDS[vertex.kind] for vertex in diagram.vertices] if colours is None else _shades(colours)
    )
    groups: dict[str, list[int]] = {}
    for i, shade in enumerate(shades):
        near = view[2] - LABELLED <= drawing.y[i] <= view[3] + LABELLED
        if near:
            groups.setdefault(_ink(shade), []).append(i)
    return [
        go.Scatter(
            x=drawing.x[indices],
            y=drawing.y[indices],
            text=[label(diagram.vertices[i]) for i in indices],
            mode="text",
            textfont={"size": 11, "color": ink},
            hoverinfo="skip",
            showlegend=False,
            name="labels",
        )
        for ink, indices in groups.items()
    ]


def label(vertex: Vertex) -> str:
    """Return what stands in a vertex: number and operators, below them the end of its name."""
    if vertex.kind is Kind.END:
        return f"{'input' if vertex.place == 0 else 'output'} {theme.plain(vertex.name, 12)}"
    if vertex.kind is Kind.BLOCK:
        return f"<b>{theme.plain(vertex.name, 22)}</b><br>{len(vertex.nodes)} nodes"
    kinds = " · ".join(vertex.op_types)
    operators = theme.plain(kinds if len(kinds) <= 16 else kinds[:15] + "…", 16)
    if vertex.kind is Kind.MARK:
        return f"{vertex.place} {operators}"
    return f"<b>{vertex.place} {operators}</b><br>{theme.plain(vertex.name, 17)}"


def _ink(colour: str) -> str:
    """Return the text colour with more contrast on a colour."""
    parts = (
        [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        if colour.startswith("#")
        else unlabel_rgb(colour)
    )
    linear = [
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(parts) / 255
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # contrast of WCAG 2: (lighter + 0.05) / (darker + 0.05)
    return _DARK if (luminance + 0.05) / 0.055 >= 1.05 / (luminance + 0.05) else _LIGHT


def _moves(diagram: Diagram, drawing: Drawing) -> go.Scatter:
    """Return a small mark on each edge for each node that only moves values on its way."""
    x, y, titles, texts = [], [], [], []
    for edge, way in zip(diagram.edges, _shortened(diagram, drawing), strict=True):
        for i, node in enumerate(edge.moves):
            at = _along(way, (i + 1) / (len(edge.moves) + 1))
            x.append(at[0])
            y.append(at[1])
            title = f"{diagram.places[node]} {node}"
            titles.append([title, str(Kind.MARK)])
            texts.append(f"{theme.plain(title, 60)}<br>{diagram.op_types[node]}, moves only")
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"symbol": "diamond", "size": 8, "color": theme.WITHIN},
        customdata=titles,
        text=texts,
        hovertemplate="%{text}<extra></extra>",
        name="moves only",
        showlegend=bool(x),
    )


def _along(way: FloatArray, share: float) -> tuple[float, float]:
    """Return the point at a share of a line's length."""
    lengths = np.hypot(*np.diff(way, axis=0).T)
    at = np.concatenate([[0.0], np.cumsum(lengths)])
    goal = share * at[-1]
    return float(np.interp(goal, at, way[:, 0])), float(np.interp(goal, at, way[:, 1]))


def _targets(diagram: Diagram, drawing: Drawing, hover: Sequence[str]) -> go.Scatter:
    """Return what is hovered and clicked: invisible marks at the centres."""
    return go.Scatter(
        x=drawing.x,
        y=drawing.y,
        mode="markers",
        marker={"size": 30, "opacity": 0, "color": _LINE},
        unselected={"marker": {"opacity": 0}},
        selected={"marker": {"opacity": 0}},
        customdata=[[vertex.title, str(vertex.kind)] for vertex in diagram.vertices],
        text=list(hover),
        hovertemplate="%{text}<extra></extra>",
        name="nodes",
        showlegend=False,
    )
