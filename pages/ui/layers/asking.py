"""The sensitivity of all layers: at once for quick models, else when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine
from quantlib.questions import layers

if TYPE_CHECKING:
    from pages.ui.current import Current
    from quantlib.analysis.attribution.sensitivity import Sensitivity

AT_ONCE_S = 2.5
"""Seconds that nobody is asked about."""


def sensitivity(current: Current, *, key: str) -> Sensitivity | None:
    """Return what each layer does alone, with progress; None while nobody has asked for it."""
    source, config = current.led(), current.config
    known = engine.is_known(source, layers.measured_sensitivity, config)
    seconds = current.ask_of_output(layers.sensitivity_seconds, config)
    if seconds > AT_ONCE_S and not known:
        st.caption(f"This model is large: running each layer alone takes about {seconds:,.0f} s.")
        if not st.button("Run each layer alone", key=key, type="primary"):
            return None
    bar = None if known else st.progress(0.0, "Running each layer alone")
    found = None
    for step in engine.each(source, layers.measured_sensitivity, config):
        found = step.found
        if bar is not None:
            share = step.done / max(1, step.total)
            bar.progress(share, f"Running each layer alone: {step.done} of {step.total}")
    if bar is not None:
        bar.empty()
    return found
