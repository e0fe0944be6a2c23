"""What is said while figures are a preview, and the way from it to those of all samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, text

if TYPE_CHECKING:
    from pages.ui.current import Current

EVERY_S = 0.5
"""How often is looked for the figures of all samples, s."""


def show(current: Current) -> None:
    """Say that the figures are a preview, if they are."""
    if current.source.preview:
        job = engine.refinement()
        running = job is not None and job.running
        st.fragment(_words, run_every=EVERY_S if running else None)(current, running=running)


def _words(current: Current, *, running: bool) -> None:
    job = engine.refinement()
    few, all_ = (engine.data_card(source) for source in (current.source, current.whole()))
    basis = f"**Preview** on {few.n_evaluation} of {all_.n_evaluation} evaluation samples"
    if job is not None and job.running:
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.caption(f"{basis}; all are being computed: {job.elapsed_s:.0f} s")
        right.button("Stop", key="previews.stop", on_click=job.cancel)
    elif running:
        st.rerun()  # the figures lie outside this fragment
    else:
        why = job.error if job is not None and job.error else "it was stopped"
        st.warning(f"{basis}: {text.plain(why, limit=400)}")
