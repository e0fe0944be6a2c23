"""The parts of the Compare screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, frame, state, tables, text
from pages.ui.charts import layers, outputs, theme
from pages.ui.compare import decisions as decision_views
from pages.ui.compare import ledger as ledger_view
from pages.ui.compare import tables as comparison_tables
from pages.ui.compare.sides import A, B, beside, columns, evaluations, sides
from quantlib import wording
from quantlib.analysis.comparison import reference_scheme
from quantlib.questions import compare as comparisons

if TYPE_CHECKING:
    from pages.ui.current import Current
    from quantlib.analysis.reports import Evaluation
    from quantlib.core.config import QuantizationConfig


def show_outputs(current: Current) -> None:
    """Draw outputs, their errors, and the error along the graph."""
    found = evaluations(current)
    for name, config in columns(current):
        key, tag = f"compare.{name[0]}", f"{name[0]}-{text.file_tag(config)}"
        side = found[name]
        both = len(found) == 1
        scatter, histogram = st.columns(2) if both else (st.container(), st.container())
        with scatter:
            st.plotly_chart(
                outputs.scatter(side.scatter),
                key=f"{key}.scatter",
                height=400,
                config=theme.CONFIG,
                alt=f"{name}: dequantized against float outputs, with the line of no error",
            )
            st.caption("On the dashed line, quantization changes nothing. At most 4000 outputs.")
            beside(
                comparison_tables.pairs(*side.scatter, "float", "dequantized"),
                key=f"{key}.pairs",
                content=f"outputs-{tag}",
                alt="outputs, worst first",
            )
        with histogram:
            st.plotly_chart(
                outputs.error_histogram(side),
                key=f"{key}.errors",
                height=400,
                config=theme.CONFIG,
                alt=f"{name}: histogram of output errors",
            )
            st.caption(
                f"The error spreads {side.error_std / side.rounding_std:.3g} times as far as "
                "rounding the output alone would make it."
                if side.rounding_std
                else "Nothing rounds the output itself: all its error comes from inside."
            )
            beside(
                comparison_tables.errors(side),
                key=f"{key}.bins",
                content=f"errors-{tag}",
                alt="error histogram",
            )
    _along_graph(current, found)
    table = comparison_tables.measures(found)
    st.dataframe(
        table,
        hide_index=True,
        column_config={name: st.column_config.TextColumn(width=220) for name in found},
        alt="Measures of the output error and how to read them",
    )
    tables.download(table, key="compare.measures.csv", content="measures")
    _ties(current)


def _ties(current: Current) -> None:
    """Say how many integers another processor may round the other way."""
    for name, config in sides(current).items():
        found = current.ask(comparisons.ties, config)
        whose = f"{name}: " if state.pinned() else ""
        st.caption(
            f"{whose}{wording.ties(found)}",
            help="Values halfway between two codes, as near as the arithmetic computes them, on "
            "evaluation data. Another processor or library sums in another order and may round "
            "them the other way: by one code there, and what follows from it. Model inputs that "
            "lie halfway are not among them: these values are given, not computed.",
        )


def _along_graph(current: Current, found: dict[str, Evaluation]) -> None:
    """Draw the SQNR of each node; a click leads to its tensor in Calibration."""
    side = found[A]
    event = st.plotly_chart(
        layers.sqnr_along_graph(side, found.get(B)),
        key="compare.sqnr",
        height=420,
        config=theme.CONFIG,
        on_select="rerun",
        selection_mode="points",
        alt="SQNR of each node's output in execution order",
    )
    st.caption(
        "Each node's output against the float model: a step down is error that the node adds. "
        "Click a node to see its tensor in Calibration."
    )
    _chosen_node(side, [point["point_index"] for point in event.selection.points])
    beside(
        comparison_tables.nodes(found),
        key="compare.nodes",
        alt="SQNR of each node",
        content=f"sqnr-{text.file_tag(current.config)}",
    )


def _chosen_node(found: Evaluation, points: list[int]) -> None:
    """Offer the tensor of the node that was clicked; a link keeps what the address holds."""
    measured = [i for i, layer in enumerate(found.layers) if layer.sqnr_db is not None]
    if not points or points[0] >= len(measured):
        return
    node = measured[points[0]]
    title = reading_layer(found, node)
    layer = found.layers[node]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{text.plain(layer.name)}**: {wording.decibel(layer.sqnr_db)}")
        if title is not None:
            st.session_state["calibration.kind"] = "activations"
            st.session_state["calibration.layer"] = title
            st.page_link(
                frame.PAGES / "calibration.py",
                icon=":material/bar_chart:",
                label=f"Its tensor in Calibration, as {text.plain(title)} reads it",
            )


def reading_layer(found: Evaluation, node: int) -> str | None:
    """Return Calibration's name of the integer layer that reads a node's output.

    The next integer layer where only look-ups read it; the last one at the end of the graph.
    """
    tensor = found.layers[node].output_name
    integer = [(i, layer) for i, layer in enumerate(found.layers) if layer.input_grid is not None]
    readers = [i for i, layer in integer if layer.input_name == tensor]
    later = [i for i, _ in integer if i > node]
    chosen = next(iter(readers or later or [i for i, _ in integer][-1:]), None)
    return None if chosen is None else f"{chosen + 1} {found.layers[chosen].name}"


def show_ledger(current: Current) -> None:
    """Draw where the output error comes from."""
    alone = st.segmented_control(
        "Parts",
        ["in context", "alone and interaction"],
        default="in context",
        required=True,
        key="compare.parts",
        bind="query-params",
        help="In context: how much of the whole error lies along the change that a source makes "
        "when all before it are on already; the parts add up. Alone: the change it makes when "
        "nothing else is on, squared; interaction is the rest.",
    )
    for name, config in columns(current):
        ledger_view.draw(current, config, name=name, alone=alone == "alone and interaction")
    with st.expander("How the error is divided"):
        st.markdown(ledger_view.DEFINITION)


def show_against(current: Current) -> None:
    """Draw the current configuration against another one."""
    others: dict[str, QuantizationConfig] = {"reference scheme": reference_scheme(current.config)}
    kept = state.pinned()
    if kept is not None:
        others[B] = kept
    if others["reference scheme"] == current.config:
        st.info(
            "The current configuration is the reference scheme: at these widths Concrete ML "
            "chooses signs, symmetry and ranges in the same way."
        )
        others.pop("reference scheme")
    found = evaluations(current) | {
        name: engine.evaluation(current.source, config) for name, config in others.items()
    }
    table = comparison_tables.measures(found)
    if others:
        other = st.selectbox(
            "Against",
            list(others),
            key="compare.other",
            bind="query-params",
            help="The reference scheme has the same widths, with Concrete ML's rules for all else.",
        )
        other = other if other in others else next(iter(others))
        _pair(current, other, others[other])
    else:
        st.caption("Pin another configuration as B in the sidebar to compare with it.")
    st.dataframe(table, hide_index=True, alt="Measures of all configurations against float")
    tables.download(table, key="compare.against.csv", content="against")


def _pair(current: Current, other: str, config: QuantizationConfig) -> None:
    """Draw two configurations' outputs against each other."""
    found = current.ask_of_output(comparisons.pair, config, current.config)
    st.caption(wording.config(config))
    left, right = st.columns([3, 2])
    with left:
        st.plotly_chart(
            outputs.scatter(found.scatter, x=f"output of {other}", y="output of A"),
            key="compare.pair",
            height=400,
            config=theme.CONFIG,
            alt=f"Outputs of the current configuration against those of {other}",
        )
        beside(
            comparison_tables.pairs(*found.scatter, other, A),
            key="compare.pair.pairs",
            content="pair",
            alt="outputs of both, most different first",
        )
    with right:
        st.metric(
            "Largest difference",
            wording.number(found.max_error),
            help="Between the two outputs of one sample, in output units.",
        )
        st.metric(
            "Difference as SQNR",
            wording.decibel(found.sqnr_db),
            help=f"With {other} as the signal: how far A is from it.",
        )
        if found.decisions is not None:
            if found.decisions.divergence is not None:
                st.metric(
                    "Divergence",
                    wording.divergence(found.decisions.divergence),
                    help=f"Of A from {other}. "
                    f"{comparison_tables.divergence_explained(found.decisions.divergence)}",
                )
            st.metric(
                "Same class",
                wording.share(found.decisions.agreement),
                help="Samples that both answer alike; "
                f"{wording.share_interval(found.decisions.agreement_interval)} is the 95 % "
                "interval (Wilson).",
            )
    if found.decisions is not None:
        decision_views.draw_decisions(
            current, found.decisions, name=f"pair with {other}", tag="pair"
        )
