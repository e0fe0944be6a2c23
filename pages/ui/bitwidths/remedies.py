"""What would bring a layer, or all of them, within the limit: measured, then applied by a click."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, settings, state, tables, text
from pages.ui.bitwidths import tables as width_tables
from quantlib import wording
from quantlib.analysis.search.fitting import Fit
from quantlib.analysis.search.search import Progress
from quantlib.analysis.widths.remedies import PREDICTION_ERROR_DB
from quantlib.analysis.widths.targets import Target
from quantlib.errors import QuantlibError
from quantlib.questions import bitwidths

if TYPE_CHECKING:
    from pages.ui.current import Current
    from pages.ui.jobs import Job
    from quantlib.analysis.widths.budget import LayerBudget
    from quantlib.analysis.widths.remedies import Remedy, RemedyStudy
    from quantlib.core.config import QuantizationConfig

EVERY_S = 0.5
"""How often a running search is drawn again, s."""

ANYWHERE = "anywhere"

GO_ON = "bitwidths.go_on"
"""Set when a remedy was applied: the next layer is shown, not the one that is mended."""


def of_layer(current: Current, layer: LayerBudget) -> None:
    """Draw what would narrow one layer that is beyond the limit; one click applies one."""
    config, criterion = current.config, settings.criterion()
    study = current.ask_of_output(bitwidths.remedies, config, layer.name, criterion)
    if study is None or not study.proposed:
        return
    study = everywhere_first(study)
    st.subheader("What would narrow it", anchor=False)
    if study.measured is None:
        seconds = study.evaluation_s * len(study.proposed)
        st.caption(
            f"Predictions: nine in ten are within {PREDICTION_ERROR_DB:.0f} dB of the truth. "
            f"Measuring all takes about {seconds:.0f} s."
        )
        if st.toggle("Measure each", key="bitwidths.verify", bind="query-params"):
            with st.spinner(f"Running {len(study.proposed)} configurations"):
                study = everywhere_first(
                    current.ask_of_output(bitwidths.verified, config, layer.name, criterion)
                )
    remedies = (
        study.proposed
        if study.measured is None
        else tuple(entry.remedy for entry in study.measured)
    )
    table = width_tables.remedy_table(study)
    event = st.dataframe(
        table,
        hide_index=True,
        key=f"bitwidths.remedies.{layer.name}.{len(settings.history())}",
        on_select="rerun",
        selection_mode="single-row",
        column_config=tables.formats(table),
        placeholder=tables.MISSING,
        alt="What would narrow the accumulator, and what it costs",
    )
    rows = [row for row in event.selection.rows if row < len(remedies)]
    left, right = st.columns(2)
    if rows:
        chosen = remedies[rows[0]]
        adoption(left, f"Apply: {chosen.title}", chosen.config, key="bitwidths.apply")
    else:
        left.caption("Select a row to apply it. *Carried by* says where it can be taken.")
    with right:
        tables.download(table, key="bitwidths.remedies.csv", label="Remedies", content="remedies")


def everywhere_first(study: RemedyStudy) -> RemedyStudy:
    """Return a study that begins with what fits and Concrete ML carries too.

    That are widths of all layers and rounding: an override of one layer ends at its export.
    """

    def is_narrow(remedy: Remedy) -> bool:
        return Target.CONCRETE_ML not in remedy.targets

    proposed = sorted(study.proposed, key=lambda r: (not r.predicted_to_fit, is_narrow(r)))
    measured = study.measured and tuple(
        sorted(study.measured, key=lambda e: (not e.fits_by(study.criterion), is_narrow(e.remedy)))
    )
    return dataclasses.replace(study, proposed=tuple(proposed), measured=measured)


def adoption(
    column: st.delta_generator.DeltaGenerator, label: str, config: QuantizationConfig, *, key: str
) -> bool:
    """Offer a configuration, if the sidebar can show it; tell whether it was just applied."""
    try:
        settings.within_controls(config)
    except QuantlibError as error:
        column.caption(text.plain(str(error), limit=300))
        return False
    return column.button(
        label,
        key=key,
        type="primary",
        on_click=_apply,
        args=(config,),
        help="Undo is on Layers, under bits by layer.",
    )


def _apply(config: QuantizationConfig) -> None:
    """Adopt a configuration, and let the screen go on to the layer that is then the tightest."""
    settings.adopt(config)
    st.session_state[GO_ON] = True


def of_all(current: Current) -> None:
    """Draw the search for what brings every layer within the limit, and its answer."""
    with st.container(border=True):
        words, target_column, button = st.columns([3, 2, 2], vertical_alignment="bottom")
        words.markdown(
            f"**Make everything fit {current.config.limit_bits} bits** with the least loss: "
            "widths, rounding, exceptions by layer; shown before it is applied."
        )
        chosen = target_column.selectbox(
            "To be taken to",
            [ANYWHERE, *map(str, Target)],
            key="bitwidths.target",
            bind="query-params",
            help="Concrete ML has one width for all weights and one for all activations, and "
            "rounds to 2 to 8 bits. A QDQ model cannot round accumulators.",
        )
        target = Target(chosen) if chosen in set(Target) else None
        question = (current.led(), current.config, settings.criterion(), target)
        job = state.fit_job()
        mine = job is not None and job.source == question
        running = job is not None and mine and job.running
        button.button(
            "Make everything fit",
            key="bitwidths.fit",
            type="primary",
            disabled=running,
            on_click=lambda: state.keep_fit(_started(current, target, question)),
        )
        if mine:
            st.fragment(_answer, run_every=EVERY_S if running else None)(question)


def _started(current: Current, target: Target | None, question: object) -> Job[Progress | Fit]:
    return engine.begin(
        current.led(),
        bitwidths.make_fit,
        ((current.config, settings.criterion(), target), {}),
        total=0,
        label=question,
    )


def _answer(question: object) -> None:
    """Draw progress, fault or answer."""
    job = state.fit_job()
    if job is None or job.source != question:
        return
    last = job.results[-1] if job.results else None
    if job.running:
        shown = last if isinstance(last, Progress) else Progress("starting", 0, 1)
        st.progress(min(1.0, shown.done / max(1, shown.total)), f"{shown.stage}: {shown.done} runs")
        st.button("Cancel", key="bitwidths.fit.cancel", on_click=job.cancel)
        return
    if st.session_state.get("bitwidths.fit.drawn") != id(job):
        st.session_state["bitwidths.fit.drawn"] = id(job)
        st.rerun()
    if job.error:
        st.error(text.plain(job.error, limit=600))
    elif isinstance(last, Fit):
        _fit(last)
    elif job.cancelled:
        st.warning("The search was cancelled.")


def _fit(found: Fit) -> None:
    """Draw what fits: the changes, what they cost, where it can be taken."""
    if not found.changes:
        st.success("Every layer is within the limit already.")
        return
    before, after = found.before.sqnr_db, found.after.sqnr_db
    st.markdown(
        f"**{wording.decibel(before)} → {wording.decibel(after)}** with "
        f"{len(found.changes)} change{'s' if len(found.changes) > 1 else ''}, carried by "
        f"{', '.join(sorted(map(str, found.targets)))}; {found.runs} configurations were run.\n"
        + "\n".join(f"- {text.plain(str(change), 200)}" for change in found.changes)
    )
    if adoption(st.container(), "Apply all of it", found.config, key="bitwidths.fit.apply"):
        st.rerun()  # sidebar and headline lie outside this fragment
