"""What the Compare screen compares, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, state, tables
from quantlib import wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from pages.ui.current import Current
    from quantlib.analysis.reports import Evaluation
    from quantlib.core.config import QuantizationConfig

A, B = "A, current", "B, pinned"


def sides(current: Current) -> dict[str, QuantizationConfig]:
    """Return what is compared: the current configuration, and B where one is pinned."""
    kept = state.pinned()
    return {A: current.config} | ({} if kept is None else {B: kept})


def evaluations(current: Current) -> dict[str, Evaluation]:
    """Return the figures of all sides."""
    return {
        name: engine.evaluation(current.source, config) for name, config in sides(current).items()
    }


def columns(current: Current) -> Iterator[tuple[str, QuantizationConfig]]:
    """Enter one column per side; the only one has no title."""
    shown = sides(current)
    for column, (name, config) in zip(st.columns(len(shown)), shown.items(), strict=True):
        with column:
            if len(shown) > 1:
                st.subheader(name, anchor=False, help=wording.config(config))
            yield name, config


def beside(table: pd.DataFrame, *, key: str, content: str, alt: str) -> None:
    """Offer the numbers of a figure."""
    with st.expander(f"Table: {alt}"):
        st.dataframe(table, hide_index=True, height=280, alt=alt)
        tables.download(table, key=f"{key}.csv", content=content)
