"""The part of the Layers screen that searches widths: the question, its progress, its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, settings, state, tables, text
from pages.ui.charts import searches, theme
from pages.ui.layers import tables as layer_tables
from pages.ui.layers.views import change
from quantlib import wording
from quantlib.analysis.search.objective import Objective
from quantlib.analysis.search.search import Progress, SearchResult
from quantlib.analysis.search.tables import DEFAULT_BITS
from quantlib.questions import layers

if TYPE_CHECKING:
    from pages.ui.current import Current
    from pages.ui.jobs import Job
    from quantlib.analysis.widths.criterion import Criterion
    from quantlib.core.config import QuantizationConfig

EVERY_S = 1.0
"""How often a running search is drawn again, s."""


@dataclass(frozen=True, slots=True)
class SearchQuestion:
    """What a search was started for: its answer belongs to nothing else."""

    source: engine.Source
    config: QuantizationConfig
    objective: Objective
    floor_db: float | None
    criterion: Criterion


def is_answer(question: SearchQuestion, config: QuantizationConfig) -> bool:
    """Tell whether a search asked about these signs, ranges, rounding and limit.

    Widths and overrides do not matter: the search replaces them.
    """
    return _without_widths(question.config) == _without_widths(config)


def _without_widths(config: QuantizationConfig) -> tuple[object, ...]:
    return (
        config.weights.replace(n_bits=8),
        config.activations.replace(n_bits=8),
        config.rounding_threshold_bits,
        config.limit_bits,
        config.calibrate_on,
        config.conventions,
        config.quantize_rest,
    )


def search(current: Current) -> None:
    """Draw the question, the running search and its answer."""
    left, right = st.columns([1, 2])
    with left:
        words = st.selectbox(
            "As small as possible",
            [str(objective) for objective in Objective],
            key="layers.objective",
            bind="query-params",
            format_func=lambda name: wording.OBJECTIVES[Objective(name)],
            help="Every accumulator fits the limit of the sidebar, by what counts there.",
        )
        objective = Objective(words) if words in set(Objective) else Objective.SIZE
        floor = None
        if objective is not Objective.SQNR and st.toggle(
            "Own floor for the SQNR",
            key="layers.own_floor",
            bind="query-params",
            help="Otherwise that of the best uniform configuration that fits.",
        ):
            floor = float(
                st.slider("SQNR at least (dB)", 0, 60, 20, key="layers.floor", bind="query-params")
            )
        bits = {
            what: tuple(
                st.pills(
                    f"{what.capitalize()} bits to choose from",
                    DEFAULT_BITS,
                    default=DEFAULT_BITS,
                    selection_mode="multi",
                    key=f"layers.{what}_bits",
                    bind="query-params",
                )
            )
            for what in ("weight", "activation")
        }
        plain = current.config.replace(overrides=())
        question = SearchQuestion(current.led(), plain, objective, floor, settings.criterion())
        job = state.search_job()
        running = job is not None and job.running
        st.button(
            "Search",
            key="layers.search",
            type="primary",
            shortcut="Ctrl+Enter",
            disabled=running or not all(bits.values()),
            on_click=lambda: state.keep_search(
                _started(question, bits["weight"], bits["activation"])
            ),
            help="Runs in the background; other screens stay usable.",
        )
        if not all(bits.values()):
            st.caption("Choose at least one width of each kind.")
    with right:
        st.fragment(_answer, run_every=EVERY_S if running else None)(current)


def _started(
    question: SearchQuestion, weight_bits: tuple[int, ...], activation_bits: tuple[int, ...]
) -> Job[Progress | SearchResult]:
    """Start a search in the background; the last result in the job is the answer."""
    asked = {
        "objective": question.objective,
        "floor_db": question.floor_db,
        "criterion": question.criterion,
        "weight_bits": weight_bits,
        "activation_bits": activation_bits,
    }
    arguments = ((question.config,), asked)
    return engine.begin(question.source, layers.search, arguments, total=0, label=question)


def _answer(current: Current) -> None:
    """Draw progress, fault or result of the search that was started last."""
    job = state.search_job()
    if job is None:
        st.info(
            "The search measures each layer at each width, lets an integer program choose, "
            "runs its choice and corrects it."
        )
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
    return not isinstance(question, SearchQuestion) or question.source != current.led()


def _result(current: Current, question: object, found: SearchResult) -> None:
    """Draw what a search found, beside the best uniform configuration."""
    assert isinstance(question, SearchQuestion)
    (st.success if found.beats_uniform else st.warning)(wording.verdict_of_search(found))
    st.plotly_chart(
        searches.assignment(found, text.places(current.evaluation())),
        key="layers.assignment",
        config=theme.CONFIG,
        alt="Weight and activation bits of each layer, found and best uniform",
    )
    score = current.evaluation().score
    table = layer_tables.search_table(found, score.name if score else None)
    tables.show(table, alt="What was found against the best uniform choice")
    limit = question.config.limit_bits
    st.caption(f"For accumulators of at most {limit} bits, {found.criterion}. {found.tried}")
    if not is_answer(question, current.config):
        st.info(
            "The search was for other signs, ranges or another limit than the sidebar's now. "
            "Adopt sets those of the search; Search asks anew."
        )
    left, right = st.columns(2)
    adopted = left.button(
        "Adopt",
        key="layers.adopt",
        type="primary",
        on_click=change,
        args=(found.best.config,),
        help="Sets the widths of every layer; the sidebar shows the widest.",
    )
    with right:
        tables.download(
            layer_tables.assignment_table(found),
            key="layers.search.csv",
            label="Widths",
            content="search",
        )
    if adopted:  # sidebar and headline lie outside this fragment
        st.rerun()
