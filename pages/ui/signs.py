"""Signed and symmetric, in the open sidebar, with what ``auto`` decided."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.analysis.reports import Evaluation, LayerSummary
    from quantlib.core.quantizer import UniformQuantizer

_slots: ContextVar[dict[str, st.delta_generator.DeltaGenerator] | None] = ContextVar(
    "slots", default=None
)
"""Where a run of the script says what was decided: known only after the sidebar is drawn."""

_HELP = {
    "weights": (
        "Codes below 0 for weights.",
        "Zero point 0: removes the input-sum term from accumulators, and needs signed codes. Auto "
        "looks at the 3rd and 97th percentile of each tensor.",
    ),
    "activations": (
        "Codes below 0 for activations. Auto: if any calibration value is negative.",
        "Zero point 0 for activations, which needs signed codes. Auto: no.",
    ),
}


def controls(part: str) -> None:
    """Draw both choices for ``"weights"`` or ``"activations"``."""
    _changed(part, "symmetric")  # a link may have asked for what nobody can have
    signed, symmetric = _HELP[part]
    _row(part, "signed", signed)
    _row(part, "symmetric", symmetric)
    if _contradict(part):  # a link says so, and is known only now; the next run sets it right
        st.rerun()
    slots = _slots.get() or {}
    slots[part] = st.empty()
    _slots.set(slots)
    said = st.session_state.get(f"signs.{part}")
    if said:  # what held before stands until the new figures are known
        slots[part].caption(said)


def _row(part: str, member: str, explanation: str) -> None:
    key = settings.KEYS[f"{part}_{member}"]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(
            member.capitalize(), help=f"{explanation} Auto is Concrete ML's rule.", width=105
        )
        st.segmented_control(
            f"{part.capitalize()} {member}",
            list(settings.TRISTATE),
            default=settings.AUTO,
            required=True,
            key=key,
            bind="query-params",
            label_visibility="collapsed",
            width="content",
            on_change=_changed,
            args=(part, member),
        )


def _changed(part: str, member: str) -> None:
    """Let the other choice follow the one that a person made: symmetric grids are signed."""
    if _contradict(part):
        if member == "symmetric":
            st.session_state[settings.KEYS[f"{part}_signed"]] = "yes"
        else:
            st.session_state[settings.KEYS[f"{part}_symmetric"]] = settings.AUTO


def _contradict(part: str) -> bool:
    """Tell whether symmetric codes without a sign are asked for."""
    chosen = st.session_state.get
    signed, symmetric = (settings.KEYS[f"{part}_{member}"] for member in ("signed", "symmetric"))
    return chosen(signed) == "no" and chosen(symmetric) == "yes"


def show_decided(found: Evaluation) -> None:
    """Say under the choices what ``auto`` came to."""
    slots = _slots.get()
    if slots is None:
        return
    for part, slot in slots.items():
        grids = [_grid(layer, part) for layer in found.layers]
        words = decided(
            [grid for grid in grids if grid is not None],
            signed=st.session_state.get(settings.KEYS[f"{part}_signed"]) == settings.AUTO,
            symmetric=st.session_state.get(settings.KEYS[f"{part}_symmetric"]) == settings.AUTO,
        )
        st.session_state[f"signs.{part}"] = words
        if words:
            slot.caption(words)
        else:
            slot.empty()


def _grid(layer: LayerSummary, part: str) -> UniformQuantizer | None:
    found = layer.weight_grid if part == "weights" else layer.input_grid
    return None if found is None or found.is_carried else found


def decided(grids: Sequence[UniformQuantizer], *, signed: bool, symmetric: bool) -> str:
    """Return in words what was decided: ``auto: signed in 2 of 5 layers, not symmetric``.

    Parameters
    ----------
    grids : sequence of UniformQuantizer
        Of all layers; those that came with the model are not among them.
    signed, symmetric : bool
        Whether this choice was left open.
    """
    if not grids:
        return ""
    questions = (
        (signed, [grid.is_signed for grid in grids], ("signed", "unsigned")),
        (symmetric, [grid.is_symmetric for grid in grids], ("symmetric", "not symmetric")),
    )
    parts = [_share(answers, words) for is_open, answers, words in questions if is_open]
    return f"auto: {', '.join(parts)}" if parts else ""


def _share(answers: Sequence[bool], words: tuple[str, str]) -> str:
    """Return ``signed``, ``unsigned`` or ``signed in 2 of 5 layers``."""
    yes, no = words
    if all(answers):
        return yes
    return f"{yes} in {sum(answers)} of {len(answers)} layers" if any(answers) else no
