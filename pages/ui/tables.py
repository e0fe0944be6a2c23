"""A table with its figures rounded, and its download."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.ui import state, text

if TYPE_CHECKING:
    from streamlit.elements.lib.column_types import ColumnConfig

_DECIMALS = {"(dB)": "%.1f", "(%)": "%.2f", "(s)": "%.2f", "(bits)": "%.2f"}
"""Format of a real column by the unit that ends its name; others have four digits."""


MISSING = "–"
"""What stands in an empty cell."""


def formats(table: pd.DataFrame) -> dict[str, ColumnConfig]:
    """Return how the real columns of a table are shown: rounded by their unit."""
    return {
        str(name): st.column_config.NumberColumn(
            format=_DECIMALS.get(str(name).rsplit(" ", 1)[-1], "%.4g")
        )
        for name in table.columns
        if pd.api.types.is_float_dtype(table[name])
    }


def show(table: pd.DataFrame, *, alt: str) -> None:
    """Draw a table whose figures are rounded by their unit."""
    st.dataframe(table, hide_index=True, column_config=formats(table), placeholder=MISSING, alt=alt)


def download(table: pd.DataFrame, *, key: str, content: str, label: str = "Table") -> None:
    """Offer a table as CSV; its file name says model, content and configuration."""
    st.download_button(
        f"{label} (CSV)",
        lambda: text.csv(table),
        file_name=f"{text.safe_name(state.file_name())}-{content}.csv",
        mime="text/csv",
        key=key,
        on_click="ignore",
    )
