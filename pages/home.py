"""Home: what fewer bits do to a model, within a minute; then the person's own model and data."""

import streamlit as st

from pages.ui import frame
from pages.ui.home import bring, first_minute, samples_view

current = frame.begin_without_model(
    "home", "Move n_bits: what do fewer bits change?", headline=False
)

if current is not None:
    with frame.shown_errors():
        strip = st.container()
        first_minute.show(current)
        bring.doors()
        with strip:  # drawn last: the picture answers the slider first
            frame.figures(current)

bring.show(current)
samples_view.show()
