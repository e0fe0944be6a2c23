"""The column of formats on the Export screen: for each, who reads it, its proof, the files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, state, text
from quantlib import wording
from quantlib.export.formats import zipped
from quantlib.export.offers import FORMATS
from quantlib.questions import export as questions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pages.ui.current import Current
    from pages.ui.jobs import Job
    from quantlib.export.formats import Proof, Refusal

EVERY_S = 0.5
"""How often a running proof is drawn again, s."""


def draw(current: Current, name: str, stem: str) -> None:
    """Draw one format: what it carries, what it cannot say, its proof, its files."""
    form = FORMATS[name]
    st.subheader(form.title, anchor=False)
    st.markdown(
        f"**Read by** {form.reader}  \n**Carries** {form.carries}  \n**Leaves out** {form.loses}"
    )
    found = current.ask(questions.offer, current.config, name, stem)
    if found.refusals:
        st.error(f"{form.title} cannot carry this model:\n{_listed(found.refusals)}")
        return
    if found.losses:
        st.warning(f"Not said by these files:\n{_listed(found.losses)}")
    for note in found.notes:
        st.caption(text.plain(note, limit=400))
    watched = _is_running(current, name)
    st.fragment(_proof, run_every=EVERY_S if watched else None)(
        current, name, stem, watched=watched
    )
    sizes = ", ".join(f"{file} ({wording.size(size)})" for file, size in found.sizes)
    several = len(found.sizes) > 1
    st.download_button(
        f"{form.title} ({'.zip' if several else form.suffix})",
        engine.deferred(_packed, current.source, questions.files, current.config, name, stem),
        file_name=f"{stem}-{name}.zip" if several else found.sizes[0][0],
        mime="application/zip" if several else "application/octet-stream",
        key=f"export.{name}",
        on_click="ignore",
        type="primary",
        help=sizes,
    )
    st.caption(text.plain(sizes, limit=300))
    with st.expander("Preview"):
        st.code(found.preview, language=None, height=320)


def _listed(found: tuple[Refusal, ...]) -> str:
    return "\n".join(
        f"- {text.plain(r.layer)}: {text.plain(r.reason, 200)}; {text.plain(r.remedy, 200)}"
        for r in found
    )


def _packed(made: Mapping[str, bytes]) -> bytes:
    """Return the only file, or all in an archive."""
    return next(iter(made.values())) if len(made) == 1 else zipped(made)


def _is_running(current: Current, name: str) -> bool:
    job = _job(current, name)
    return job is not None and job.running


def _job(current: Current, name: str) -> Job[Proof] | None:
    """Return the proof that was started last, if it is of this format and configuration."""
    job = state.proof_job()
    return job if job is not None and job.source == (current.source, current.config, name) else None


def _proof(current: Current, name: str, stem: str, *, watched: bool) -> None:
    """Draw the proof, or the way to it; `watched` tells whether this is drawn again and again."""
    job = _job(current, name)
    running = job is not None and job.running
    done = job is not None and bool(job.results)
    if not done:
        st.button(
            "Prove it",
            key=f"export.prove.{name}",
            disabled=running,
            on_click=lambda: state.keep_proof(_started(current, name, stem)),
            help="Runs or reads the files again on all evaluation samples and compares.",
        )
    if job is None:
        return
    if running:
        if not watched:  # only a run of the whole script makes it so
            st.rerun()
        st.progress(0, text=f"Running it again: {job.elapsed_s:.0f} s")
        st.button("Cancel", key=f"export.cancel.{name}", on_click=job.cancel)
        return
    if st.session_state.get("export.drawn") != id(job):
        st.session_state["export.drawn"] = id(job)
        st.rerun()
    if job.error:
        st.error(text.plain(job.error, limit=600))
    elif job.results:
        [found] = job.results
        (st.success if found.holds else st.error)(
            f"{text.plain(found.sentence, 300)} ({wording.seconds(found.elapsed_s)})"
        )
        with st.expander("Everything found"):
            for line in found.lines:
                st.markdown(f"- {text.plain(line, 400)}")
    elif job.cancelled:
        st.warning("The proof was cancelled.")


def _started(current: Current, name: str, stem: str) -> Job[Proof]:
    return engine.begin(
        current.source,
        questions.proof,
        ((current.config, name, stem), {}),
        total=1,
        label=(current.source, current.config, name),
    )
