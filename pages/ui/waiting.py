"""What a person sees while an answer is computed, and how they call it off."""

from __future__ import annotations

import time

import streamlit as st

from quantlib.errors import WorkerError

SHOWN_AFTER_S = 1.0
"""How long a person waits without a word."""

EVERY_S = 0.5
"""How often the words change."""

_CANCELLED = "waiting.cancelled"


class Waiting:
    """One answer that is waited for; asked several times a second whether to go on.

    Parameters
    ----------
    key : str
        Tells this answer from others.

    Raises
    ------
    WorkerError
        The person called it off.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._since = time.monotonic()
        self._shown_at = 0.0
        self._place: st.delta_generator.DeltaGenerator | None = None
        if key in st.session_state.get(_CANCELLED, ()):
            st.session_state[_CANCELLED].discard(key)
            raise WorkerError("Cancelled. Change a control, or choose another model, to go on.")

    def tick(self, line: int) -> None:
        """Let Streamlit end this run if it wants to; say how long it takes, and why."""
        interruptible(line)
        now = time.monotonic()
        if now - self._since < SHOWN_AFTER_S or now - self._shown_at < EVERY_S:
            return
        self._shown_at = now
        words = f"Waiting, place {line} in line" if line else "Computing"
        if self._place is None:
            self._place = st.empty()
            box = self._place.container(horizontal=True, vertical_alignment="center")
            self._words = box.empty()
            box.button("Cancel", key=f"waiting.{self._key}", on_click=_cancel, args=(self._key,))
        self._words.caption(f"{words}: {now - self._since:.0f} s")

    def done(self) -> None:
        """Take the words away."""
        if self._place is not None:
            self._place.empty()


def interruptible(_line: int) -> None:
    """Let Streamlit leave a run that a newer one replaces: it does where its state is read."""
    st.session_state.get(_CANCELLED)


def _cancel(key: str) -> None:
    st.session_state.setdefault(_CANCELLED, set()).add(key)
