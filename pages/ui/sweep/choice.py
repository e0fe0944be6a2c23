"""The selected result of a sweep: what it is, what it changes, what to do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import frame, settings, state, text
from pages.ui.sweep import words as sweep_words
from quantlib import wording
from quantlib.analysis.sweep.measures import MEASURES
from quantlib.errors import QuantlibError

if TYPE_CHECKING:
    from pages.ui.sweep.views import View
    from quantlib.analysis.sweep.result import SweepResult


def draw(result: SweepResult, view: View) -> None:
    """Draw the card of the result that was clicked."""
    current, other, score_name = view.current, view.now(), view.score_name
    config = result.config
    with st.container(border=True):
        st.markdown(f"**Selected:** {wording.config(config)}")
        changed = sweep_words.differences(config, current)
        if changed:
            st.markdown(f"Against the current: {text.plain('; '.join(changed), 400)}")
        else:
            st.markdown("This is the current configuration.")
        st.markdown(" · ".join(_figures(result, other, score_name)))
        refusal = _refusal(result)
        if refusal:
            st.caption(f"It cannot be adopted: {text.plain(refusal, 300)}")
        columns = st.columns(3, vertical_alignment="center")
        adopted = columns[0].button(
            "Adopt",
            key="sweep.adopt",
            type="primary",
            on_click=settings.adopt,
            args=(config,),
            width="stretch",
            disabled=bool(refusal),
            help="Sets every control of the sidebar to this configuration.",
        )
        pinned = columns[1].button(
            "Pin as B",
            key="sweep.pin",
            on_click=state.pin,
            args=(config,),
            width="stretch",
            help="Keeps it beside the current configuration; all screens show the difference.",
        )
        if adopted or pinned:  # sidebar and headline lie outside this fragment
            st.rerun()
        columns[2].page_link(
            frame.PAGES / "compare.py",
            label="Open in Compare",
            help="Shows the current configuration, and B beside it: adopt or pin first.",
        )
        with st.expander("All figures"):
            table = sweep_words.compared(result, other, score_name)
            st.dataframe(table, hide_index=True, alt="All figures of the selected configuration")


def _refusal(result: SweepResult) -> str:
    """Return why the sidebar cannot show a configuration, empty if it can."""
    try:
        settings.within_controls(result.config)
    except QuantlibError as error:
        return str(error)
    return ""


def _figures(result: SweepResult, other: SweepResult | None, score_name: str) -> list[str]:
    """Return the leading figures, each with that of the current configuration."""
    lines = []
    for member, name in (
        ("sqnr_db", "SQNR"),
        ("score", score_name),
        ("widest_seen_bits", "widest"),
        ("headroom_bits", "headroom"),
        ("weight_bytes", "weights"),
    ):
        entry, value = MEASURES[member], result[member]
        if value is None:
            continue
        words = f"{name} {wording.figure(entry, value, score_name)}"
        if other is not None and other is not result and other[member] != value:
            words += f" (now {wording.figure(entry, other[member], score_name)})"
        lines.append(words)
    return lines
