"""Projector mode: large type, no sidebar, nothing above the lesson."""

from __future__ import annotations

import streamlit as st

_STYLE = """
<style>
[data-testid="stSidebar"], [data-testid="stExpandSidebarButton"],
[data-testid="stHeader"], [data-testid="stToolbar"] { display: none !important; }
[data-testid="stMainBlockContainer"] { padding: 0.4rem 1.2rem 0.6rem 1.2rem !important; }
[data-testid="stMainBlockContainer"] h2 { display: none; }
[data-testid="stMainBlockContainer"] [data-testid="stVerticalBlock"] { gap: 0.45rem; }
[data-testid="stMainBlockContainer"] p, [data-testid="stMainBlockContainer"] label { font-size: 1.05rem; }
[data-testid="stCaptionContainer"] p { font-size: 1rem !important; opacity: 1; }
.katex { font-size: 1.18em; }
.katex-display { margin: 0.2em 0; }
</style>
"""


def show() -> None:
    """Change the look of the page."""
    st.html(_STYLE)
