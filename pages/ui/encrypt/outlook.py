"""What needs no compiler: refusals, predicted widths and bootstraps, the effect of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.ui import settings, tables, text
from quantlib import wording
from quantlib.questions import encrypt as questions

if TYPE_CHECKING:
    from pages.ui.current import Current
    from pages.ui.encrypt.choice import Choice
    from quantlib.analysis.reports import Score
    from quantlib.core.config import QuantizationConfig
    from quantlib.fhe.widths import Prediction
    from quantlib.questions.encrypt import Outlook

SEED = 0
"""Of the injected errors: the same question has the same answer."""


def refusals(current: Current, found: Outlook) -> None:
    """Say what stands against compiling, each with its remedy."""
    st.warning("This model cannot be computed under encryption as it is.")
    for refusal in found.refusals:
        st.markdown(
            f"- **{text.plain(refusal.layer)}**: {text.plain(refusal.reason, 300)}; "
            f"{text.plain(refusal.remedy, 300)}"
        )
    mends = [refusal for refusal in found.refusals if refusal.rounding_bits is not None]
    if mends:
        st.button(
            f"Round accumulators to {mends[0].rounding_bits} bits",
            key="encrypt.mend",
            type="primary",
            on_click=_adopt,
            args=(questions.mended(current.config, mends[0]),),
            help="Sets the rounding threshold in the sidebar.",
        )


def _adopt(config: QuantizationConfig) -> None:
    settings.adopt(config)


def prediction(found: Prediction) -> None:
    """Draw widths, bootstraps and cost, layer by layer."""
    st.subheader("Predicted", anchor=False)
    row = st.container(horizontal=True, gap="large")
    row.metric("Bootstraps per sample", f"{found.n_bootstraps:,}", width="content")
    row.metric(
        "Widest integer",
        f"{found.widest_bits} bits",
        width="content",
        help="Of all integers that a circuit holds, for the ranges chosen above. The widest "
        "accumulator of the headline is that of the evaluation data, and can be narrower.",
    )
    row.metric(
        "Operations per sample",
        wording.magnitude(found.complexity),
        width="content",
        help="Floating-point operations of all look-ups at an error probability of 2⁻⁴⁰, each "
        "counted at what Concrete's optimizer gives for one alone.",
    )
    table = predicted_table(found)
    tables.show(table, alt="Predicted width, bootstraps and cost of each layer.")
    tables.download(table, key="encrypt.table", content="encryption")


def predicted_table(found: Prediction) -> pd.DataFrame:
    """Return a prediction as a table."""
    return pd.DataFrame(
        {
            "layer": [layer.layer for layer in found.layers],
            "lowest": [layer.low for layer in found.layers],
            "highest": [layer.high for layer in found.layers],
            "width (bits)": [layer.needed_bits for layer in found.layers],
            "held in (bits)": [layer.held_bits for layer in found.layers],
            "widest table (bits)": pd.array(
                [layer.table_bits or None for layer in found.layers], dtype="Int64"
            ),
            "bootstraps": [layer.n_bootstraps for layer in found.layers],
            "cost (10⁹ operations)": [layer.complexity / 1e9 for layer in found.layers],
        }
    )


def errors(current: Current, chosen: Choice) -> None:
    """Say what look-ups that err do to the evaluation data."""
    st.subheader("With errors", anchor=False)
    found = current.ask(
        questions.with_errors, current.config, chosen.rounding, chosen.p_error, SEED
    )
    scored = ""
    if found.score is not None and found.exact_score is not None:
        scored = f" {_score(found.score)}; without errors {_value(found.exact_score)}."
    st.markdown(
        f"{found.samples - found.equal_samples} of {found.samples} evaluation samples change an "
        f"output integer.{scored}"
    )
    st.caption(
        "Computed in NumPy: noise moves what enters each table, as often as the error probability "
        "permits. A circuit's parameters may be better than that."
    )


def _score(score: Score) -> str:
    return f"{score.name[:1].upper()}{score.name[1:]} {_value(score)}"


def _value(score: Score) -> str:
    return wording.score(score.quantized_value, name=score.name)
