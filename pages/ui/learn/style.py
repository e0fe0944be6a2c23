"""How the screen differs from Streamlit's: formulas beside a figure, and projector mode."""

from __future__ import annotations

import streamlit as st

_FORMULAS = """
[data-testid="stMain"] .katex-display {
  text-align: left; margin: 0.2em 0; overflow-x: auto; overflow-y: hidden;
}
[data-testid="stMain"] .katex-display > .katex { text-align: left; font-size: 1em; }
@media (max-width: 640px) {  /* a phone shows the figure before its controls */
  .st-key-learn-stage [data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"]) {
    flex-direction: column-reverse;
  }
}
"""

_PROJECTOR = """
[data-testid="stSidebar"], [data-testid="stExpandSidebarButton"],
[data-testid="stHeader"], [data-testid="stToolbar"] { display: none !important; }
[data-testid="stMainBlockContainer"] { padding: 0.4rem 1.2rem 0.6rem 1.2rem !important; }
[data-testid="stElementContainer"]:has(h2),
[data-testid="stElementContainer"]:has(h2) + [data-testid="stElementContainer"] { display: none; }
[data-testid="stMainBlockContainer"] [data-testid="stVerticalBlock"] { gap: 0.4rem; }
[data-testid="stMainBlockContainer"] label p { font-size: 1rem; }
[data-testid="stCaptionContainer"] p { font-size: 1rem !important; }
[data-testid="stMain"] .katex-display { margin-bottom: 0.8em; }
[data-testid="stMain"] .katex-display > .katex { font-size: 1.12em; }
"""


def show(*, large: bool) -> None:
    """Change the look of the page; `large` is for a projector."""
    st.html(f"<style>{_FORMULAS}{_PROJECTOR if large else ''}</style>")
