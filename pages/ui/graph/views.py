"""The parts of the Graph screen: controls, picture, verdict, table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import tables, text
from pages.ui.charts import theme
from pages.ui.graph import painting
from pages.ui.graph.painting import SCALES, Measure
from pages.ui.graph.picture import FOLDED_FROM, lay, picture
from pages.ui.layers import asking
from quantlib import wording
from quantlib.analysis.blocks import folded
from quantlib.analysis.diagram import Kind

if TYPE_CHECKING:
    import pandas as pd

    from pages.ui.current import Current
    from pages.ui.graph.painting import Paint
    from quantlib.analysis.attribution.sensitivity import Sensitivity
    from quantlib.analysis.diagram import Diagram
    from quantlib.questions.graph import Structure

EXPLAINED = (
    "Values flow downwards. A box is an integer operator, a rounded link the functions of one "
    "table look-up, a dashed box an operator that nobody quantizes, a diamond an operator that "
    "only moves values. Click one for its card; a folded block opens. Drag to pan, scroll to zoom, "
    "double-click for the whole."
)


def measure_control() -> Measure:
    """Let choose what the graph is painted with."""
    chosen = st.segmented_control(
        "Paint with",
        [str(measure) for measure in Measure],
        default=str(Measure.TREATMENT),
        required=True,
        key="graph.paint",
        bind="query-params",
        help="Treatment and products need no run; sensitivity runs each layer alone.",
    )
    return Measure(chosen) if chosen in set(Measure) else Measure.TREATMENT


def choose(structure: Structure) -> tuple[str, Diagram]:
    """Let find a node and fold blocks; return the node and the diagram that shows it."""
    diagram = structure.diagram
    nodes = {f"{place} {name}": name for name, place in diagram.places.items()}
    row = st.container(horizontal=True, gap="medium", vertical_alignment="bottom")
    first = next((v.title for v in diagram.vertices if v.kind is Kind.INTEGER), next(iter(nodes)))
    title = row.selectbox(
        "Find a node",
        list(nodes),
        index=list(nodes).index(first),
        key="graph.node",
        width=300,
        bind="query-params",
        help="Type a part of its name or operator; it is ringed and brought to the middle.",
    )
    node = nodes.get(title, nodes[first])
    if not structure.blocks:
        return node, diagram
    how = row.segmented_control(
        "Repeated blocks",
        ["auto", "folded", "open"],
        default="auto",
        required=True,
        key="graph.blocks",
        bind="query-params",
        help=f"Auto folds them from {FOLDED_FROM} nodes on. A click on a folded block opens it.",
    )
    if how == "open" or (how == "auto" and len(diagram.vertices) < FOLDED_FROM):
        return node, diagram
    titles = [block.title for block in structure.blocks]
    chosen = row.multiselect(
        "Opened blocks",
        titles,
        key="graph.open",
        width=300,
        bind="query-params",
        placeholder="none",
        help="The block of the chosen node is open whatever is chosen here.",
    )
    at = diagram.vertex_of(node)
    here = [block.title for block in structure.blocks if at in range(block.first, block.stop)]
    return node, folded(diagram, structure.blocks, {*chosen, *here})


def draw(
    place: st.delta_generator.DeltaGenerator,
    diagram: Diagram,
    paint: Paint,
    node: str,
    *,
    key: str,
) -> None:
    """Draw the graph; a click chooses."""
    place.plotly_chart(
        picture(diagram, lay(diagram), paint, found=diagram.vertex_of(node)),
        key=key,
        config=theme.CONFIG | {"scrollZoom": True},
        on_select=lambda: pick(key),
        selection_mode="points",
        alt="The model as a graph in layers from top to bottom; the table below says the same",
    )


def pick(key: str) -> None:
    """Make what was clicked the chosen node, or open the block."""
    points = st.session_state[key].selection.points
    clicked = [point["customdata"] for point in points if point.get("customdata")]
    if clicked:
        title, kind = clicked[0]
        go_to(str(title), str(kind))


def go_to(title: str, kind: str) -> None:
    """Choose the node of a title, or open the folded block that has it."""
    if kind == Kind.BLOCK:
        opened = list(st.session_state.get("graph.open", []))
        block = title.partition(" ")[2]
        st.session_state["graph.open"] = [*opened, *([] if block in opened else [block])]
    elif kind != Kind.END:
        st.session_state["graph.node"] = title


def sensitivity(
    current: Current, measure: Measure, place: st.delta_generator.DeltaGenerator
) -> Sensitivity | None:
    """Return the effects of all layers where the graph is painted with them."""
    if measure is not Measure.SENSITIVITY:
        return None
    with place:
        return asking.sensitivity(current, key="graph.run")


def verdict(structure: Structure, diagram: Diagram, paint: Paint, limit_bits: int) -> str:
    """Return in a few sentences what stands out."""
    counts = {kind: sum(v.kind is kind for v in diagram.vertices) for kind in Kind}
    over = [v.title for v, beyond in zip(diagram.vertices, paint.over, strict=True) if beyond]
    beyond = f" **{len(over)} over {limit_bits} bits**, framed: " if over else ""
    names = ", ".join(text.plain(title, 40) for title in over[:4])
    more = f" and {len(over) - 4} more" if len(over) > 4 else ""
    tail = f"{beyond}{names}{more}." if over else f" No accumulator is over {limit_bits} bits."
    if words := wording.unseen([n for n, report in structure.reports.items() if report.unseen]):
        tail += f" {text.plain(words, 400)}"
    if paint.worst is not None:
        worst = diagram.vertices[paint.worst]
        scale = SCALES[paint.measure]
        value = painting.words(paint.measure, paint.values[paint.worst])
        return (
            f"{scale.worst.capitalize()}: **{text.plain(worst.title, 60)}**, {value}. "
            f"{scale.explained}{tail}"
        )
    told = [
        f"{counts[kind]} {kind}{'s' if counts[kind] != 1 else ''}"
        for kind in (Kind.INTEGER, Kind.FUNCTION, Kind.ISLAND, Kind.BLOCK)
        if counts[kind]
    ]
    return f"{', '.join(told)}.{tail}"


def table(found: pd.DataFrame, diagram: Diagram) -> None:
    """Draw the same facts as a table; a row chooses as a click does."""
    event = st.dataframe(
        found,
        hide_index=True,
        height=280,
        key="graph.table",
        on_select="rerun",
        selection_mode="single-row",
        column_config=tables.formats(found),
        placeholder=tables.MISSING,
        alt="Each node of the graph: what it is, its value, what it reads and who reads it",
    )
    rows = [int(found.index[row]) for row in event.selection.rows if row < len(found)]
    if rows:
        chosen = diagram.vertices[rows[0]]
        st.button(
            f"Show {text.plain(chosen.title, 40)}",
            key="graph.show",
            on_click=go_to,
            args=(chosen.title, str(chosen.kind)),
        )
