"""All about the chosen node, beside the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import frame, settings, text
from pages.ui.charts import distributions, staircases, theme
from pages.ui.compare.views import reading_layer
from quantlib import wording
from quantlib.analysis.diagram import Kind
from quantlib.questions import bitwidths, calibration, graph

if TYPE_CHECKING:
    from pages.ui.current import Current
    from quantlib.analysis.diagram import Diagram, Vertex
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.questions.graph import NodeCard, Structure

SHOWN_NODES = 8


def draw(current: Current, structure: Structure, node: str) -> None:
    """Draw the card of a node, with what is fused with it."""
    diagram = structure.diagram
    index = diagram.vertex_of(node)
    vertex = None if index is None else diagram.vertices[index]
    place, op_type = diagram.places[node], diagram.op_types[node]
    report = structure.reports[node]
    st.subheader(f"{place} {text.plain(node, 40)}", anchor=False)
    what = f"{text.plain(op_type)}, {report.treatment}"
    st.markdown(f"**{what}** · Concrete ML: {text.plain(report.verdict, 160)}")
    if vertex is not None and len(vertex.nodes) > 1:
        _fused(diagram, vertex)
    found = current.ask(graph.card, current.config, node)
    shows = {"node": _node, "histogram": _histogram, "table": _table}
    chosen = st.segmented_control(
        "Of this node",
        list(shows),
        default="node",
        required=True,
        key="graph.card",
        bind="query-params",
        label_visibility="collapsed",
        help="Formula, quantizers and accumulator; what it reads; the table its integers enter.",
    )
    shows.get(str(chosen), _node)(current, structure, found)
    _doors(current, place, found)


def before_run(structure: Structure, node: str) -> None:
    """Draw what is known of a node before anything ran."""
    report = structure.reports[node]
    st.subheader(f"{structure.diagram.places[node]} {text.plain(node, 40)}", anchor=False)
    st.markdown(
        f"**{text.plain(report.op_type)}, {report.treatment}** · Concrete ML: "
        f"{text.plain(report.verdict, 160)}"
    )
    st.caption("Its figures are being computed.")


def _fused(diagram: Diagram, vertex: Vertex) -> None:
    """Say which functions are one look-up."""
    names = [f"{diagram.op_types[name]}" for name in vertex.nodes[:SHOWN_NODES]]
    more = len(vertex.nodes) - len(names)
    chain = " → ".join(text.plain(name) for name in names) + (f" and {more} more" if more else "")
    st.caption(f"One look-up together: {chain}.")


def _node(current: Current, structure: Structure, found: NodeCard) -> None:
    """Draw formula, quantizers and accumulator."""
    del current, structure  # other views ask further questions
    if found.formula is not None:
        st.latex(found.formula.latex())
        st.caption(_formula_words(found))
    rows = [("reads", name, grid) for name, grid in found.inputs]
    if found.summary.weight_name:
        rows.append(("weights", found.summary.weight_name, found.summary.weight_grid))
    rows += [("makes", name, grid) for name, grid in found.outputs]
    for role, name, grid in rows:
        shape = found.shapes.get(name, "")
        st.markdown(
            f"*{role}* **{text.plain(name, 32)}**"
            + (f" ({text.plain(shape)})" if shape else "")
            + f"  \n{_grid(grid)}"
        )
    if found.summary.sqnr_db is not None:
        st.markdown(f"*output against float* **{wording.decibel(found.summary.sqnr_db)}**")
    _accumulator(found)


def _grid(grid: UniformQuantizer | None) -> str:
    return "no grid: as the reader takes it" if grid is None else wording.grid_in_full(grid)


def _formula_words(found: NodeCard) -> str:
    formula = found.formula
    assert formula is not None
    words = "x and w are codes; scales and zero points are in the formula"
    if formula.channel is not None:
        words += f", those of channel {formula.channel}"
    if formula.bias is not None:
        words += f"; b lies in {wording.interval(*formula.bias)}"
    return words + "."


def _accumulator(found: NodeCard) -> None:
    """Draw the accumulator by its three measures."""
    budget = found.budget
    if budget is None:
        return
    criterion = settings.criterion()
    seen = wording.NOTHING if budget.seen is None else f"{budget.seen.width_bits}"
    span = wording.NOTHING if budget.seen is None else wording.span(budget.seen.range)
    headroom = budget.headroom_by(criterion)
    st.markdown(
        "| accumulator | bits | integers |\n| --- | --- | --- |\n"
        f"| the types allow | {budget.types.width_bits} | {wording.span(budget.types.range)} |\n"
        f"| the weights allow | {budget.weights.width_bits} "
        f"| {wording.span(budget.weights.range)} |\n"
        f"| seen on the data | {seen} | {span} |"
    )
    if headroom is not None:
        fits = "fits" if budget.fits_by(criterion) else "is over the limit of"
        st.markdown(
            f"It {fits} **{budget.limit_bits} bits** by “{criterion}”: headroom "
            f"**{headroom:+.2f} bits**."
        )


def _histogram(current: Current, structure: Structure, found: NodeCard) -> None:
    """Draw what the node reads, on its grid."""
    del structure
    measured = current.ask(calibration.distributions)
    name, grid = found.inputs[0] if found.inputs else ("", None)
    values = measured.activations.get(name)
    if values is None:
        st.info("It reads no real tensor that was measured.")
        return
    st.plotly_chart(
        distributions.tensor_histogram(values, grid, log=True, unit=theme.plain(name)),
        key="graph.histogram",
        height=360,
        config=theme.CONFIG,
        alt="Histogram of what the node reads, with its grid",
    )
    st.caption("On the calibration data in float; counts are logarithmic.")


def _table(current: Current, structure: Structure, found: NodeCard) -> None:
    """Draw the table that the node's integers enter, or that it is part of."""
    layer = _table_layer(structure.diagram, found.report.name)
    if layer is None:
        st.info("No table: it stands behind no integer operator.")
        return
    answer = current.ask(bitwidths.tables, current.config, layer)
    tables = [
        entry
        for entry in answer.tables
        if layer == found.report.name or found.report.name in entry.view.through
    ] or list(answer.tables)
    if not tables:
        st.info(text.plain(answer.why_none[:1].upper() + answer.why_none[1:], limit=400))
        return
    entry = tables[0]
    function = entry.functions[0]
    st.plotly_chart(
        staircases.staircase(function, entry.view.low, entry.view.high, reader=entry.view.reader),
        key="graph.staircase",
        height=320,
        config=theme.CONFIG,
        alt="Code that comes out of the table over the accumulator that enters",
    )
    of = "" if len(entry.functions) == 1 else f"The first of {len(entry.functions)} functions. "
    inside = ", ".join(text.plain(name, 24) for name in entry.view.through)
    st.caption(
        f"{of}{len(function.thresholds)} steps; inside: {inside or 'requantization only'}; read by "
        f"{text.plain(entry.view.reader)}. All of it is on Bit widths, under table."
    )


def _table_layer(diagram: Diagram, node: str) -> str | None:
    """Return the integer operator whose table a node begins or is part of."""
    at = diagram.vertex_of(node)
    if at is None:
        return None
    while diagram.vertices[at].kind is Kind.FUNCTION:
        sources = diagram.sources(at)
        if not sources:
            return None
        at = sources[0]
    vertex = diagram.vertices[at]
    return vertex.name if vertex.kind is Kind.INTEGER else None


def _doors(current: Current, place: int, found: NodeCard) -> None:
    """Offer this node on other screens; a link keeps what the address holds."""
    evaluation = current.evaluation()
    name = found.report.name
    reader = (
        f"{place} {name}"
        if found.summary.input_grid is not None
        else reading_layer(evaluation, place - 1)
    )
    with st.container(horizontal=True):
        if reader is not None:
            st.session_state["calibration.kind"] = "activations"
            st.session_state["calibration.layer"] = reader
            st.page_link(
                frame.PAGES / "calibration.py", label="Calibration", icon=":material/bar_chart:"
            )
        if found.budget is not None:
            st.session_state["bitwidths.layer"] = f"{place} {name}"
            st.page_link(frame.PAGES / "bitwidths.py", label="Bit widths", icon=":material/width:")
        if found.summary.input_grid is not None:
            st.session_state["layers.find"] = f"{place} {name}"
            st.page_link(frame.PAGES / "layers.py", label="Layers", icon=":material/layers:")
