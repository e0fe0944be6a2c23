"""What is chosen for encryption: rounding, error probability, ranges."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from quantlib import wording

EXPONENTS = (5, 10, 20, 30, 40)
"""Error probabilities offered, as negative powers of two."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is chosen.

    Parameters
    ----------
    rounding : {"exact", "approximate"}
        How low bits go.
    p_error : float
        Probability that a look-up errs.
    on_data : bool
        Whether ranges are those of the data.
    """

    rounding: str
    p_error: float
    on_data: bool


def draw() -> Choice:
    """Draw the controls."""
    row = st.container(horizontal=True, gap="large")
    rounding = row.segmented_control(
        "Rounding",
        ["exact", "approximate"],
        default="exact",
        key="encrypt.rounding",
        bind="query-params",
        help="How the low bits of an accumulator go, where the configuration rounds. Exact takes "
        "one bootstrap for each bit; approximate takes none, and can be one step off.",
    )
    exponent = row.select_slider(
        "Error probability of a look-up",
        EXPONENTS,
        value=40,
        format_func=lambda power: f"2{wording.raised(-power)}",
        key="encrypt.p_error",
        width=240,
        help="A larger one makes look-ups cheaper, and more of them read a neighbouring entry.",
    )
    ranges = row.segmented_control(
        "Ranges",
        ["every input", "the data"],
        default="every input",
        key="encrypt.ranges",
        bind="query-params",
        help="Integers as wide as any input can make them, or as wide as calibration and "
        "evaluation data made them: cheaper, and wrong for inputs that reach further.",
    )
    return Choice(rounding or "exact", 2.0 ** -int(exponent), ranges == "the data")
