"""The figures that every screen shows: what the configuration comes to, in one strip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import streamlit as st

from pages.ui import engine, settings, state, text
from quantlib import wording
from quantlib.questions import bitwidths

if TYPE_CHECKING:
    from pages.ui.current import Current
    from quantlib.analysis.reports import Evaluation
    from quantlib.questions.evaluations import DataCard

NEGLIGIBLE = 0.0005
"""Differences of an accuracy that are shown as none."""


def draw(current: Current, card: DataCard) -> None:
    """Draw the four figures, and a line on what they rest on."""
    found = current.evaluation()
    kept = state.pinned()
    other = engine.evaluation(current.source, kept) if kept else None
    columns = _places()
    several = len(found.outputs) > 1
    columns[0].metric(
        f"SQNR of {text.plain(found.output, 24)}" if several else "Output SQNR",
        wording.decibel(found.sqnr_db),
        delta=wording.decibel_difference(found.sqnr_db, other.sqnr_db) if other else None,
        help="Output signal over quantization noise, 10 log10(Σy² / Σ(y − ŷ)²), in decibel. "
        "6 dB more is one bit more.",
        border=True,
        height="stretch",
    )
    _score(columns[1], found, other, card)
    _widest(columns[2], current)
    ratio = found.float_weight_bytes / max(1, found.weight_bytes)
    columns[3].metric(
        "Weights",
        wording.size(found.weight_bytes),
        delta=f"{ratio:.1f} × smaller",
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        help="Quantized weights at their widths against float32; biases keep 32 bits, as in "
        "Concrete ML.",
    )
    with st.container(key="headline-basis"):
        st.caption(_basis(found, card))


def _places() -> list[st.delta_generator.DeltaGenerator]:
    """Return places for four figures: one strip, or two pairs where it is narrow."""
    strip = st.container(key="headline")
    pairs = [strip.container(key=f"headline-{i}") for i in range(2)]
    return [pair for pair in pairs for _ in range(2)]


def _widest(column: st.delta_generator.DeltaGenerator, current: Current) -> None:
    """Draw the widest accumulator against the limit, by the criterion of the sidebar."""
    criterion, limit = settings.criterion(), current.config.limit_bits
    budget = current.ask(bitwidths.budget, current.config)
    widest = budget.counted_bits(criterion)
    fits = budget.fits_by(criterion)
    left_out = len(budget.unseen) + len(budget.unbounded)
    words = {
        True: f"fits {limit} bits",
        False: f"over {limit} bits",
        None: f"{left_out} not looked into",
    }
    colour: Literal["normal", "inverse", "off"] = "off"
    if fits is not None:
        colour = "normal" if fits else "inverse"
    column.metric(
        "Widest accumulator",
        f"{widest} bits" if widest else "none",
        delta=words[fits] if widest or fits is None else None,
        delta_color=colour,
        delta_arrow="off",
        help=f"Counted: {criterion}. {criterion.explanation} After rounding, where there is a "
        "threshold. Products inside operators that nobody quantizes are not looked into.",
        border=True,
        height="stretch",
    )


def _score(
    column: st.delta_generator.DeltaGenerator,
    found: Evaluation,
    other: Evaluation | None,
    card: DataCard,
) -> None:
    """Draw accuracy, R² or agreement, against float or B."""
    if found.score is None:
        agrees = found.agreement is not None
        column.metric(
            "Same class as float" if agrees else "Largest error",
            wording.share(found.agreement) if agrees else wording.number(found.max_error),
            delta="synthetic data" if card.is_synthetic else None,
            delta_color="off",
            delta_arrow="off",
            border=True,
            height="stretch",
            help="Share of evaluation samples whose largest output stays the same."
            if agrees
            else "Largest difference to the float output, in output units.",
        )
        return
    base = other.score.quantized_value if other and other.score else found.score.float_value
    difference = found.score.quantized_value - base
    is_share = found.score.name == "accuracy"
    same = abs(difference) < NEGLIGIBLE
    shown = f"{100 * difference:+.1f} points" if is_share else f"{difference:+.3f}"
    whom = " to B" if other else ""
    name = found.score.name
    column.metric(
        name.capitalize() if is_share else name,
        wording.score(found.score.quantized_value, name=name),
        delta=("as B" if other else "as float") if same else f"{shown}{whom}",
        delta_color="off" if same else "normal",
        delta_arrow="off" if same else "auto",
        border=True,
        height="stretch",
        help="On the evaluation labels; the float model has "
        f"{wording.score(found.score.float_value, name=name)}. The difference is to "
        f"{'B' if other else 'the float model'}.",
    )


def _basis(found: Evaluation, card: DataCard) -> str:
    """Return what the figures rest on: output, samples, intervals, what was not looked into."""
    parts = [f"{card.n_evaluation} evaluation samples"]
    if found.score and found.score.intervals:
        parts.append(f"accuracy {wording.share_interval(found.score.intervals[1])} (95 % interval)")
    elif found.agreement_interval:
        parts.append(
            f"same class {wording.share_interval(found.agreement_interval)} (95 % interval)"
        )
    if len(found.outputs) > 1:
        chosen = "chosen" if settings.output() else "the worst"
        parts.append(f"output {text.plain(found.output)}, {chosen} of {len(found.outputs)}")
    if found.unseen:
        names = ", ".join(text.plain(name, 24) for name in found.unseen[:3])
        more = "" if len(found.unseen) < 4 else f" and {len(found.unseen) - 3} more"
        parts.append(f"products inside {names}{more} are not looked into")
    return " · ".join(parts)
