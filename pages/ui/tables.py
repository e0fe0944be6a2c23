"""A table beside its download."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import state, text

if TYPE_CHECKING:
    import pandas as pd


def download(table: pd.DataFrame, *, key: str, content: str) -> None:
    """Offer a table as CSV; its file name says model, content and configuration."""
    st.download_button(
        "Table (CSV)",
        lambda: text.csv(table),
        file_name=f"{text.safe_name(state.file_name())}-{content}.csv",
        mime="text/csv",
        key=key,
        on_click="ignore",
    )
