"""The graph's figure from its parts: for the screen and for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pages.ui.charts import graph as chart
from pages.ui.charts import theme
from pages.ui.graph import painting
from pages.ui.graph.layout import layered
from pages.ui.graph.painting import SCALES, Paint
from quantlib.analysis.diagram import Kind

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from pages.ui.graph.layout import Layout
    from quantlib.analysis.diagram import Diagram, Vertex

FOLDED_FROM = 60
"""Vertices from which repeated blocks are folded unless told otherwise."""


def lay(diagram: Diagram) -> Layout:
    """Return where the vertices of a diagram stand."""
    return layered(len(diagram.vertices), [(e.source, e.target) for e in diagram.edges])


def picture(
    diagram: Diagram,
    layout: Layout,
    paint: Paint,
    *,
    found: int | None = None,
    whole: bool = False,
    height: int = chart.HEIGHT,
) -> go.Figure:
    """Return a diagram painted with a measure."""
    scale = SCALES.get(paint.measure)
    return chart.model_graph(
        diagram,
        chart.Drawing(layout.x, layout.y, layout.routes, layout.routed),
        hover=[
            _hover(vertex, painting.words(paint.measure, value))
            for vertex, value in zip(diagram.vertices, paint.values, strict=True)
        ],
        colours=None if scale is None else chart.Colours(
            scale.title, paint.values, scale.is_signed
        ),
        over=paint.over,
        found=found,
        whole=whole,
        height=height,
    )  # fmt: skip


def _hover(vertex: Vertex, value: str) -> str:
    """Return what is said at a vertex, as chart text."""
    lines = [f"<b>{theme.plain(vertex.title, 60)}</b>"]
    if vertex.kind is not Kind.END:
        kinds = list(dict.fromkeys(vertex.op_types))
        more = f" and {len(kinds) - 6} more" if len(kinds) > 6 else ""
        lines.append(f"{vertex.kind}: {theme.plain(', '.join(kinds[:6]), 80)}{more}")
    if value:
        lines.append(value)
    return "<br>".join(lines)
