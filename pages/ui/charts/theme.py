"""Colours by role, and the frame every figure shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    import plotly.graph_objects as go
    from pandas.io.formats.style import Styler

FLOAT = "#8A8A8A"
DEQUANTIZED = "#2E86C1"
GRID = "#E69F00"
CLIPPED = "#D55E00"
WITHIN = "#009E73"
OVER = "#D55E00"
"""Okabe-Ito tones that read on light and dark ground; shape or hatch is the second cue."""

MAGNITUDE = "Cividis"
TRANSPARENT = "rgba(0,0,0,0)"

TREATMENTS = {
    "integer": GRID,
    "table look-up": DEQUANTIZED,
    "mover": WITHIN,
    "float island": CLIPPED,
    "raw": FLOAT,
}
"""Colour of each treatment; its name always stands beside it."""

CONFIG = {"displayModeBar": False, "showSendToCloud": False}
"""Plotly's own options: no bar of buttons, which lies over the legend, and none that uploads.

Dragging zooms and a double click shows the whole again; Streamlit's own button enlarges.
"""


def titled(figure: go.Figure, *, x: str, y: str, height: int = 380) -> go.Figure:
    """Name the axes with their units and set the common frame."""
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    return framed(figure, height=height)


def framed(figure: go.Figure, *, height: int = 380) -> go.Figure:
    """Set what all figures share."""
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        paper_bgcolor=TRANSPARENT,
        plot_bgcolor=TRANSPARENT,
        bargap=0.15,
        hoverlabel={"namelength": -1},
        uirevision="keep",
    )
    return figure


def numbered(places: Mapping[str, int], name: str, limit: int = 28) -> str:
    """Return a layer's place in the model and its name as chart text, unique by the number."""
    return f"{places[name]} {plain(name, limit)}"


def titled_by_number(title: str, limit: int = 28) -> str:
    """Return a title that begins with a number as chart text: the number whatever is cut off."""
    number, _, name = title.partition(" ")
    return f"{number} {plain(name, limit)}"


def coloured(table: pd.DataFrame, column: str) -> Styler:
    """Return a table whose treatment column lies on a tint of the treatments' colours.

    The text keeps its own colour: none of the treatments' is readable on light and dark ground.
    """
    return table.style.map(
        lambda value: f"background-color: {TREATMENTS.get(value, FLOAT)}40", subset=[column]
    )


def plain(name: str, limit: int = 28) -> str:
    """Return a name from outside as chart text: no tags, no templates, bounded."""
    clean = "".join(c if c.isprintable() else "�" for c in name)
    short = clean if len(clean) <= limit else "…" + clean[-(limit - 1) :]
    return (
        short.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("%{", "%\u200b{")
    )
