"""Compare: float against dequantized outputs, configuration against configuration."""

import streamlit as st

from pages.ui import frame
from pages.ui.compare import decisions as decision_views
from pages.ui.compare import views as comparison_views

current = frame.begin("compare", "What the model answers in float, and what it answers quantized.")
shows = {
    "outputs": comparison_views.show_outputs,
    "decisions": decision_views.show_decisions,
    "error ledger": comparison_views.show_ledger,
    "against": comparison_views.show_against,
}
chosen = st.segmented_control(
    "Show",
    list(shows),
    default="outputs",
    required=True,
    key="compare.show",
    bind="query-params",
    label_visibility="collapsed",
    help="Output errors; answers that change; where the error comes from; the reference scheme.",
)
with frame.shown_errors():
    shows.get(str(chosen), comparison_views.show_outputs)(current)
