"""A file on its way in: tried in a worker of its own, adopted when all is well with it.

Short trials are waited for; long ones go on while the person looks at whatever they like, and can
be cancelled. What was current before stays current until the new file is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, state
from quantlib.errors import DataLoadError, ModelLoadError, QuantlibError
from quantlib.limits import MIB, above

if TYPE_CHECKING:
    from pages.ui.jobs import Job

AT_ONCE_S = 1.0
"""How long a trial is waited for before the page goes on, s."""

EVERY_S = 0.5
"""How often a running trial is drawn again, s."""


_TOO_LARGE = {
    "model": (ModelLoadError, "give a smaller model"),
    "data": (DataLoadError, "give fewer samples"),
}
"""What is raised for a file above the limit, and the way out."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """A file that is tried.

    Parameters
    ----------
    name : str
        The file's.
    digest : str
        Of its bytes.
    beside : str
        For data, the option of the model that they are for; empty for a model.
    job : Job
        Ends with an error or without.
    """

    name: str
    digest: str
    beside: str
    job: Job[None]


def take(kind: str) -> None:
    """Begin with the file dropped on ``home.model`` or ``home.data``; for use in callbacks."""
    file = st.session_state[f"home.{kind}"]
    if file is None:
        return
    cancel()
    try:
        _begin(kind, file.getvalue(), file.name)
    except QuantlibError as error:
        state.say("home", done=False, words=str(error))
        return
    trial: _Trial = st.session_state["uploads.trial"]
    trial.job.wait(AT_ONCE_S)
    settle()


def _begin(kind: str, content: bytes, name: str) -> None:
    if too_much := above(f"upload_{kind}_mb", len(content) / MIB):
        wrong, remedy = _TOO_LARGE[kind]
        raise wrong(f"{name}: the file has {len(content) / MIB:.1f} MB, {too_much}; {remedy}.")
    current = state.source()
    if kind == "data" and current is None:
        raise DataLoadError(f"{name}: there is no model yet; upload or choose one first.")
    digest = engine.register(content, name=name)
    source = (
        engine.Source(digest, "")
        if kind == "model" or current is None
        else engine.Source(current.model, digest)
    )
    beside = "" if kind == "model" else state.model_name()
    st.session_state["uploads.trial"] = _Trial(name, digest, beside, engine.trial(source))


def settle() -> None:
    """Adopt or refuse a file whose trial has ended; before any control of this run is drawn."""
    trial: _Trial | None = st.session_state.get("uploads.trial")
    if trial is None or trial.job.running:
        return
    del st.session_state["uploads.trial"]
    if trial.job.error or trial.job.cancelled:
        state.drop(trial.digest)
        words = trial.job.error or f"{trial.name}: cancelled; everything is as before."
        state.say("home", done=False, words=words)
        return
    if trial.beside:
        state.adopt_data(trial.digest, trial.beside)
    else:
        state.adopt_model(trial.digest, trial.name)
    state.say("home", done=True, words=f"{trial.name} is loaded.")


def cancel() -> None:
    """End a trial that is running."""
    trial: _Trial | None = st.session_state.get("uploads.trial")
    if trial is not None:
        trial.job.cancel()


def show() -> None:
    """Draw a running trial, and the way to end it."""
    if "uploads.trial" in st.session_state:
        st.fragment(_progress, run_every=EVERY_S)()


def _progress() -> None:
    trial: _Trial | None = st.session_state.get("uploads.trial")
    if trial is None or not trial.job.running:
        st.rerun()
        return
    left, right = st.columns([4, 1], vertical_alignment="center")
    left.progress(0.0, f"Trying {trial.name}: {trial.job.elapsed_s:.0f} s")
    right.button("Cancel", key="uploads.cancel", on_click=cancel)
