"""What a link asked for and did not get, said once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import settings, state

if TYPE_CHECKING:
    from collections.abc import Mapping

_ASKED = "links.asked"
_UNSAID = "links.unsaid"

_MEMBERS = {*settings.KEYS.values(), state.PINNED}
"""What a link can say: every control, and B's code, which has its own message where it is bad."""


def remember() -> None:
    """Keep what the link says, before its controls are drawn; the first time only."""
    if _ASKED not in st.session_state:
        st.session_state[_ASKED] = {
            name: value for name, value in st.query_params.items() if name.startswith("config.")
        }


def compare() -> None:
    """Compare what the link said with what its controls took, once they are drawn."""
    asked = st.session_state.get(_ASKED)
    if asked:
        taken = {name: st.session_state.get(name) for name in asked}
        st.session_state[_UNSAID] = ignored(asked, taken)
        st.session_state[_ASKED] = {}


def unsaid() -> list[str]:
    """Return what is still to be said, and forget it."""
    found: list[str] = st.session_state.pop(_UNSAID, [])
    return found


def ignored(asked: Mapping[str, str], taken: Mapping[str, object]) -> list[str]:
    """Return in sentences which members of a link were not taken.

    Parameters
    ----------
    asked : mapping of str to str
        What the link says, by the name of the control.
    taken : mapping of str to object
        What the control holds; None where there is no such control here.
    """
    words = []
    for name, value in asked.items():
        short = name.removeprefix("config.")
        held = taken.get(name)
        if name not in _MEMBERS:
            words.append(f"The link sets {short}={value}, which is no setting; it is ignored.")
        elif held is not None and not _same(value, held):
            words.append(
                f"The link sets {short}={value}, which cannot be shown; {_word(held)} is used."
            )
    return words


def _same(asked: str, held: object) -> bool:
    if isinstance(held, bool):
        return asked.lower() == _word(held)
    if isinstance(held, int | float):
        try:
            return float(asked) == held
        except ValueError:
            return False
    return asked == held


def _word(held: object) -> str:
    return str(held).lower() if isinstance(held, bool) else str(held)
