"""The parts of the Layers screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.ui import state, tables, text
from pages.ui.charts import searches, theme
from pages.ui.compare import studies as comparisons
from pages.ui.layers import editing as layer_studies
from pages.ui.layers import tables as layer_tables
from pages.ui.layers.editing import EDITABLE, SearchQuestion
from quantlib.analysis.attribution.sensitivity import Part
from quantlib.analysis.search.program import Objective
from quantlib.analysis.search.search import Progress, SearchResult
from quantlib.analysis.search.tables import DEFAULT_BITS
from quantlib.core.estimator import ESTIMATORS
from quantlib.errors import QuantlibError

if TYPE_CHECKING:
    import pandas as pd

    from pages.ui.frame import Current
    from quantlib.core.config import QuantizationConfig

EVERY_S = 1.0
"""How often a running search is drawn again, s."""


def sensitivity(current: Current) -> None:
    """Draw what each layer does alone."""
    words = st.segmented_control(
        "Of each layer", [str(part) for part in Part], default=str(Part.BOTH), required=True,
        key="layers.part", bind="query-params", help="Which of its operands are quantized.",
    )  # fmt: skip
    part = Part(words) if words in set(Part) else Part.BOTH
    if not layer_studies.is_measured(current.source, current.config):
        products = comparisons.ledger_products(current.source, current.config)
        seconds = products * comparisons.SECONDS_PER_PRODUCT
        st.caption(f"This model is large: running each layer alone takes about {seconds:,.0f} s.")
        if not st.button("Run each layer alone", key="layers.run", type="primary"):
            return
    with st.spinner("Running each layer alone"):
        found = layer_studies.measured(current.source, current.config)
    st.plotly_chart(
        searches.tornado(found, part, text.places(current.evaluation())), key="layers.tornado",
        config=theme.CONFIG,
        alt="Error of each layer alone, and error that leaving it in float removes",
    )  # fmt: skip
    st.caption(
        "To the left, the error if only this layer is quantized; to the right, the share of the "
        "error that goes if only this layer stays in float. Bits are worth most where both are "
        "long; where the right bar is negative, its error cancels another's."
    )
    table = layer_tables.sensitivity_table(found)
    st.dataframe(
        table, hide_index=True, height=300, column_config=tables.formats(table),
        placeholder=tables.MISSING,
        alt="Effect of each layer and part",
    )  # fmt: skip
    left, right = st.columns(2)
    with left:
        tables.download(
            table, key="layers.sensitivity.csv", label="Sensitivities", content="sensitivity"
        )
    right.download_button(
        "Sensitivities (JSON)", found.to_json(), key="layers.sensitivity.json",
        file_name=f"{text.safe_name(state.file_name())}-sensitivity.json", on_click="ignore",
        mime="application/json",
    )  # fmt: skip


def table(current: Current) -> None:
    """Draw the editable table; every edit is applied, and can be undone."""
    rows = layer_studies.layer_rows(current.evaluation(), current.config)
    words = list(state.TRISTATE)
    choices = {
        **dict.fromkeys(["weights signed", "weights symmetric", "activations signed",
                         "activations symmetric"], words),
        "weights range": list(ESTIMATORS),
        "activations range": list(ESTIMATORS),
    }  # fmt: skip
    columns: dict[str, Any] = {
        name: st.column_config.SelectboxColumn(
            options=[*dict.fromkeys([*options, *rows[name].dropna()])]
        )
        for name, options in choices.items()
    }
    low, high = state.BITS
    for name in ("weight bits", "activation bits"):
        columns[name] = st.column_config.NumberColumn(
            min_value=low, max_value=high, step=1, help=f"{low} to {high}; cleared: the sidebar's."
        )  # fmt: skip
    columns["layer"] = st.column_config.TextColumn(pinned=True)
    columns["SQNR (dB)"] = st.column_config.NumberColumn(format="%.1f")
    version = st.session_state.setdefault("layers.version", 0)
    edited = st.data_editor(
        rows, hide_index=True, key=f"layers.table.{version}", column_config=columns,
        disabled=[name for name in rows.columns if name not in EDITABLE],
        placeholder=tables.MISSING, alt="Choices of each layer, to edit",
    )  # fmt: skip
    st.caption(
        "Columns with a pencil are yours: click a cell and type. A cleared cell follows the "
        "sidebar. A dash is not to choose: no weights, or a grid that came with the model."
    )
    _apply(current, rows, edited)
    undo, clear, download = st.columns(3)
    undo.button(
        "Undo", key="layers.undo", disabled=not state.history(), on_click=_step_back,
        help="Back to the configuration before the last edit, remedy or search.",
    )  # fmt: skip
    clear.button(
        "All layers alike", key="layers.clear", disabled=not current.config.overrides,
        on_click=_change, args=(current.config.replace(overrides=()),),
        help="Drops every per-layer choice.",
    )  # fmt: skip
    with download:
        tables.download(rows, key="layers.csv", content="layers")


def _apply(current: Current, rows: pd.DataFrame, edited: pd.DataFrame) -> None:
    """Adopt what an edit means; a contradiction is said and changes nothing."""
    try:
        config = state.within_controls(layer_studies.edited(current.config, rows, edited))
    except QuantlibError as error:
        st.error(text.plain(str(error), limit=400))
        return
    if config != current.config:
        state.later(config)
        st.session_state["layers.version"] += 1
        st.rerun()


def _change(config: QuantizationConfig) -> None:
    state.adopt(config)
    st.session_state["layers.version"] = st.session_state.get("layers.version", 0) + 1


def _step_back() -> None:
    state.undo()
    st.session_state["layers.version"] = st.session_state.get("layers.version", 0) + 1


def search(current: Current) -> None:
    """Draw the question, the running search and its answer."""
    left, right = st.columns([1, 2])
    with left:
        words = st.selectbox(
            "As small as possible", [str(objective) for objective in Objective],
            key="layers.objective", bind="query-params", format_func=lambda name: _OBJECTIVES[name],
            help="Every accumulator fits the limit of the sidebar, for any input on the grid.",
        )  # fmt: skip
        objective = Objective(words) if words in set(Objective) else Objective.SIZE
        floor = None
        if objective is not Objective.SQNR and st.toggle(
            "Own floor for the SQNR", key="layers.own_floor", bind="query-params",
            help="Otherwise 1 dB below the best uniform configuration that fits.",
        ):  # fmt: skip
            floor = float(st.slider("SQNR at least (dB)", 0, 60, 20, key="layers.floor",
                                    bind="query-params"))  # fmt: skip
        bits = {
            what: tuple(st.pills(
                f"{what.capitalize()} bits to choose from", DEFAULT_BITS, default=DEFAULT_BITS,
                selection_mode="multi", key=f"layers.{what}_bits", bind="query-params",
            ))
            for what in ("weight", "activation")
        }  # fmt: skip
        plain = current.config.replace(overrides=())
        question = SearchQuestion(current.source, plain, objective, floor)
        job = state.search_job()
        running = job is not None and job.running
        st.button(
            "Search", key="layers.search", type="primary", shortcut="Ctrl+Enter",
            disabled=running or not all(bits.values()),
            on_click=lambda: state.keep_search(
                layer_studies.search_job(question, bits["weight"], bits["activation"])
            ),
            help="Runs in the background; other screens stay usable.",
        )  # fmt: skip
        if not all(bits.values()):
            st.caption("Choose at least one width of each kind.")
    with right:
        st.fragment(_answer, run_every=EVERY_S if running else None)(current)


_OBJECTIVES = {
    str(Objective.SIZE): "weight memory",
    str(Objective.BIT_OPERATIONS): "bit operations",
    str(Objective.LOOKUPS): "cost of table look-ups",
    str(Objective.SQNR): "error (the highest SQNR)",
}


def _answer(current: Current) -> None:
    """Draw progress, fault or result of the search that was started last."""
    job = state.search_job()
    if job is None:
        st.info("The search measures each layer at each width, lets an integer program choose, "
                "runs its choice and corrects it.")  # fmt: skip
        return
    steps = [step for step in job.results if isinstance(step, Progress)]
    if job.running:
        if _is_of_another(job.source, current):
            st.info("This search is for another model or other data.")
        last = steps[-1] if steps else Progress("starting", 0, 1)
        st.progress(last.done / max(1, last.total), f"{last.stage}: {last.done} of {last.total}")
        st.button("Cancel", key="layers.cancel", on_click=job.cancel)
        return
    if st.session_state.get("layers.drawn") != id(job):
        st.session_state["layers.drawn"] = id(job)
        st.rerun()
    if _is_of_another(job.source, current):
        st.info("The last search was for another model or other data. Search again.")
        return
    if job.error:
        st.error(text.plain(job.error, limit=600))
    result = job.results[-1] if job.results else None
    if isinstance(result, SearchResult):
        _result(current, job.source, result)
    elif job.cancelled:
        st.warning("The search was cancelled.")


def _is_of_another(question: object, current: Current) -> bool:
    return not isinstance(question, SearchQuestion) or question.source != current.source


def _result(current: Current, question: object, found: SearchResult) -> None:
    """Draw what a search found, beside the best uniform configuration."""
    assert isinstance(question, SearchQuestion)
    (st.success if found.beats_uniform else st.warning)(layer_tables.verdict_of_search(found))
    st.plotly_chart(
        searches.assignment(found, text.places(current.evaluation())), key="layers.assignment",
        config=theme.CONFIG,
        alt="Weight and activation bits of each layer, found and best uniform",
    )  # fmt: skip
    table = layer_tables.search_table(found)
    tables.show(table, alt="What was found against the best uniform choice")
    limit = question.config.limit_bits
    st.caption(f"For accumulators of at most {limit} bits; {found.runs} configurations were run.")
    if not layer_studies.is_answer(question, current.config):
        st.info("The search was for other signs, ranges or another limit than the sidebar's now. "
                "Adopt sets those of the search; Search asks anew.")  # fmt: skip
    left, right = st.columns(2)
    adopted = left.button(
        "Adopt", key="layers.adopt", type="primary", on_click=_change, args=(found.best.config,),
        help="Sets the widths of every layer; the sidebar shows the widest.",
    )  # fmt: skip
    with right:
        tables.download(layer_tables.assignment_table(found), key="layers.search.csv",
                        label="Widths", content="search")  # fmt: skip
    if adopted:  # sidebar and headline lie outside this fragment
        st.rerun()
