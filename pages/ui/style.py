"""How every screen differs from Streamlit's own look: dense on top, readable, focus visible.

Streamlit has no option for any of this; each rule says what it is for. Sizes are in rem, so that a
browser's zoom and a person's font size apply.
"""

from __future__ import annotations

import streamlit as st

_SPACE = """
/* No empty space above the title: the toolbar lies over the page and is transparent. */
[data-testid="stHeader"] { background: transparent; height: 2.75rem; pointer-events: none; }
[data-testid="stHeader"] button, [data-testid="stStatusWidget"] { pointer-events: auto; }
[data-testid="stMainBlockContainer"] { padding: 0.75rem clamp(0.75rem, 3vw, 2.5rem) 4rem; }
[data-testid="stMainBlockContainer"] > [data-testid="stVerticalBlock"] { gap: 0.75rem; }
.stApp:has([data-testid="stExpandSidebarButton"]) .st-key-frame-title { padding-left: 2rem; }
.st-key-frame-title { padding-right: 2.5rem; row-gap: 0; column-gap: 1rem; }
.st-key-frame-title h2 { padding: 0; font-size: 1.75rem; }
[data-testid="stSidebarHeader"] { height: 2.25rem; }
[data-testid="stSidebarUserContent"] { padding-top: 0.75rem; }
[data-testid="stSidebarUserContent"] [data-testid="stVerticalBlock"] { gap: 0.6rem; }
[data-testid="stSidebarNavLink"] { min-height: 1.6rem; height: auto; }
[data-testid="stSidebar"] [data-testid="stButtonGroup"] button {
  padding: 0 0.5rem; min-height: 1.75rem;
}
[data-testid="stSidebarNav"] li { margin: 0; }
"""

_STRIP = """
/* Four figures in one strip, two by two where it is narrow, never cut. */
.st-key-headline {
  display: grid; gap: 0.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(16.5rem, 100%), 1fr));
}
.st-key-headline > [class*="st-key-headline-"], .st-key-headline [class*="st-key-headline-"] {
  display: grid; gap: 0.5rem; grid-template-columns: repeat(2, minmax(0, 1fr));
}
.st-key-headline [data-testid="stElementContainer"],
.st-key-headline [data-testid="stMetric"] { height: 100%; }
.st-key-headline [data-testid="stMetric"] > div {
  padding: 0.35rem 0.6rem; display: flex; flex-wrap: wrap; align-items: center; column-gap: 0.5rem;
}
.st-key-headline [data-testid="stMetricLabel"] { flex: 1 0 100%; }
.st-key-headline [data-testid="stMetricValue"] { font-size: 1.4rem; padding: 0; line-height: 1.3; }
.st-key-headline [data-testid="stMetricDelta"] { font-size: 0.8rem; padding: 0 0.3rem; }
@media (max-height: 560px) and (min-width: 640px) {  /* a projector, or a browser's zoom */
  .st-key-headline { grid-template-columns: 1fr 1fr; }
  .st-key-headline [data-testid="stMetricLabel"] p { font-size: 0.75rem; }
  .st-key-headline [data-testid="stMetricLabel"] [data-testid="stTooltipIcon"],
  .st-key-frame-title [data-testid="stCaptionContainer"], .st-key-headline-basis { display: none; }
  .st-key-headline [data-testid="stMetricValue"] { font-size: 1.2rem; }
  .st-key-headline [data-testid="stMetric"] > div { padding: 0.15rem 0.4rem; }
  [data-testid="stMainBlockContainer"] { padding: 0.3rem 0.9rem 2rem; }
  [data-testid="stMainBlockContainer"] > [data-testid="stVerticalBlock"] { gap: 0.4rem; }
}
.st-key-headline [data-testid="stMetric"] * {
  white-space: normal; overflow: visible; text-overflow: clip;
}
.st-key-home-n-bits label p { font-size: 1.05rem; font-weight: 600; }
"""

_READABLE = """
/* Text has a contrast of 4.5:1 or more on its ground. */
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p {
  color: VAR_QUIET; opacity: 1;
}
kbd { color: inherit !important; opacity: 1 !important; }
.token.property, .token.keyword, .token.boolean, .token.number, .token.function,
.token.builtin, .token.class-name { color: VAR_BLUE !important; }
.token.string, .token.comment { color: VAR_GREEN !important; }
.js-plotly-plot .xtick > text, .js-plotly-plot .ytick > text,
.js-plotly-plot .xtitle, .js-plotly-plot .ytitle { fill: VAR_QUIET !important; }
/* Code is read without scrolling sideways, which no key can do. */
[data-testid="stCode"] pre, [data-testid="stCode"] code {
  white-space: pre-wrap !important; overflow-wrap: anywhere;
}
/* The focus is visible, in the menu too. */
a:focus-visible, button:focus-visible, summary:focus-visible, [role="tab"]:focus-visible,
[data-testid="stSidebarNavLink"]:focus-visible {
  outline: 3px solid VAR_FOCUS !important; outline-offset: 1px; border-radius: 0.3rem;
}
[data-testid="stSlider"]:has(input:focus-visible) {
  outline: 3px solid VAR_FOCUS; outline-offset: 0.4rem; border-radius: 0.1rem;
}
"""

_ON_PRIMARY = """
[data-testid="stBaseButton-primary"], [data-testid="stBaseButton-primary"] * { color: #0E1117; }
[data-testid="stMultiSelect"] span[title] { color: #0E1117 !important; }
"""

_TONES = {
    "light": {"QUIET": "#5F5E5C", "BLUE": "#005F94", "GREEN": "#1A6B33", "FOCUS": "#0072B2"},
    "dark": {"QUIET": "#B9B7B3", "BLUE": "#7CC4F0", "GREEN": "#7FD69A", "FOCUS": "#56B4E9"},
}
"""Colours of text on Streamlit's light and dark grounds, the lightest against the darker one."""


def is_dark() -> bool:
    """Tell whether the person looks at the dark theme."""
    return st.context.theme.type == "dark"


def show() -> None:
    """Change the look of the page."""
    readable = _READABLE
    for name, colour in _TONES["dark" if is_dark() else "light"].items():
        readable = readable.replace(f"VAR_{name}", colour)
    dark = _ON_PRIMARY if is_dark() else ""
    st.html(f"<style>{_SPACE}{_STRIP}{readable}{dark}</style>")
