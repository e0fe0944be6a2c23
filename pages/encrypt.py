"""Encrypt: what a configuration costs under encryption, and whether the result is the same."""

import streamlit as st

from pages.ui import frame, text
from pages.ui.encrypt import choice, circuits, outlook
from quantlib.questions import encrypt as questions

current = frame.begin("encrypt", "What does it cost under encryption, and is the result the same?")
chosen = choice.draw()
with frame.shown_errors():
    found = current.ask(questions.outlook, current.config, chosen.rounding, on_data=chosen.on_data)
    if found.refusals:
        outlook.refusals(current, found)
    if found.prediction is not None:
        outlook.prediction(found.prediction)
        with st.spinner("Running with errors"):
            outlook.errors(current, chosen)
        if not found.refusals:
            circuits.draw(current, chosen, found.prediction, compiler=found.compiler)
    elif not found.refusals:
        st.info(text.plain("Nothing can be said about this model."))
