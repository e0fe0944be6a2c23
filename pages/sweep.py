"""Sweep: a grid of configurations."""

import streamlit as st

from pages.ui import engine, frame, grid_controls, state, sweep_choice, sweep_views, text
from quantlib.analysis.measuring import same_numbers
from quantlib.errors import DataLoadError, QuantlibError

MAX_UPLOAD_BYTES = 64 * 2**20
MANY = 500  # from so many results on, the figures are drawn less often

current = frame.begin("sweep", "Which widths and signs keep the accuracy and fit the limit?")
job = state.job()
running = job is not None and job.running
mine = job is not None and job.source == current.source


def resume() -> None:
    """Take an uploaded results file; what was there before stays if it is refused."""
    file = st.session_state["sweep.file"]
    if file is None:
        return
    try:
        if file.size > MAX_UPLOAD_BYTES:
            raise DataLoadError(
                f"{file.name}: above {MAX_UPLOAD_BYTES // 2**20} MiB; give fewer results."
            )
        kept = engine.kept_results(current.source, file.getvalue(), name=file.name)
        state.keep_job(kept)
        state.say("sweep", done=True, words=f"{file.name}: {kept.done} results are here.")
    except QuantlibError as error:
        state.say("sweep", done=False, words=str(error))


every_s = None if job is None or not running else 0.4 if job.done < MANY else 2.0


@st.fragment(run_every=every_s)
def progress() -> None:
    """Show how far the sweep is; redraw the page once when it has ended."""
    if job is None or not mine:
        return
    if job.running:
        left_s = "" if job.left_s is None else f", about {job.left_s:.0f} s left"
        words = f"{job.done} of {job.total} configurations{left_s}"
        st.progress(min(1.0, job.done / max(1, job.total)), text=words)
        st.button("Cancel", key="sweep.cancel", on_click=job.cancel, width="stretch")
    elif running:
        st.rerun()
    if job.error:
        st.error(text.plain(job.error, limit=600))
    elif job.cancelled and not job.running:
        st.warning(f"Cancelled after {job.done} of {job.total}; the results so far stay.")


@st.fragment(run_every=every_s)
def figures() -> None:
    """Draw what the sweep found so far."""
    if job is None:
        st.info("No sweep yet. Choose a grid and press Start.")
        return
    if not mine:
        st.info("The last sweep was of another model or other data. Press Start for this one.")
        return
    results = [result.under_limit(current.config.limit_bits) for result in tuple(job.results)]
    if results:
        score = engine.evaluation(current.source, current.config).score
        name = score.name if score else "score"
        view = sweep_views.View(results, current.config, name)
        sweep_views.draw(view, origin=engine.origin(current.source))
        chosen = sweep_views.selected(results)
        if chosen is not None:
            now = same_numbers(current.config)
            here = next((r for r in results if same_numbers(r.config) == now), None)
            sweep_choice.draw(chosen, current=current.config, other=here, score_name=name)


left, right = st.columns([1, 2], gap="medium")
with left:
    known = list(job.results) if job is not None and mine else []
    configs = grid_controls.configurations(current, known)
    st.button(
        "Start", key="sweep.start", type="primary", disabled=running or not configs,
        on_click=lambda: state.keep_job(engine.sweep_job(current.source, configs, known)),
        shortcut="Ctrl+Enter", help="Runs in the background; other screens stay usable.",
    )  # fmt: skip
    progress()
    with st.expander("Continue from a file"):
        st.file_uploader(
            "Results (.jsonl, .csv)", key="sweep.file", on_change=resume, type=["jsonl", "csv"],
            help="A file from this screen or from `quantlib sweep --out`, of the same model and "
            "data. Start then computes only what it lacks.",
        )  # fmt: skip
    frame.show_message("sweep")
with right:
    figures()
