"""Sweep: a grid of configurations."""

import streamlit as st

from pages.ui import engine, frame, state, text
from pages.ui.sweep import choice as sweep_choice
from pages.ui.sweep import controls as grid_controls
from pages.ui.sweep import views as sweep_views

current = frame.begin("sweep", "Which widths and signs keep the accuracy and fit the limit?")
job = state.job()
running = job is not None and job.running
mine = job is not None and job.source == current.source
# a chart that changes is drawn anew: seldom enough to be looked at
redraw_s = None if job is None or not running else 1.0 if job.done < 500 else 3.0


@st.fragment(run_every=0.4 if running else None)
def progress() -> None:
    """Show how far the sweep is; redraw the page once when it has ended."""
    if job is None or (not mine and not job.running):
        return
    if job.running:
        left_s = "" if job.left_s is None else f", about {job.left_s:.0f} s left"
        whose = "" if mine else " of another model"
        words = f"{job.done} of {job.total} configurations{whose}{left_s}"
        st.progress(min(1.0, job.done / max(1, job.total)), text=words)
        st.button("Cancel", key="sweep.cancel", on_click=job.cancel, width="stretch")
    elif running:
        st.rerun()
    if job.error:
        st.error(text.plain(job.error, limit=600))
    elif job.cancelled and not job.running:
        st.warning(f"Cancelled after {job.done} of {job.total}; the results so far stay.")


@st.fragment(run_every=redraw_s)
def figures() -> None:
    """Draw what the sweep found so far."""
    if job is None:
        st.info("No sweep yet. Choose a grid and press Start.")
    elif not mine:
        st.info(
            "A sweep of another model or other data is running. Cancel it, or wait, to start one "
            "of this model."
            if job.running
            else "The last sweep was of another model or other data. Press Start for this one."
        )
    elif job.results:
        view = sweep_views.View.of(job.results, current)
        sweep_views.draw(view, origin=engine.origin(current.source))
        chosen = sweep_views.selected(view.results)
        if chosen is not None:
            sweep_choice.draw(chosen, view)


left, right = st.columns([1, 2], gap="medium")
with left:
    known = list(job.results) if job is not None and mine else []
    configs = grid_controls.configurations(current, known)

    def start() -> None:
        state.plan(configs)
        state.keep_job(engine.sweep_job(current.source, configs, known))

    st.button(
        "Start",
        key="sweep.start",
        type="primary",
        disabled=running or not configs,
        on_click=start,
        shortcut="Ctrl+Enter",
        help="Runs in the background; other screens stay usable.",
    )
    progress()
    grid_controls.results_upload(current)
with right:
    figures()
