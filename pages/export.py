"""Export: the configuration in the form each reader takes, with its proof."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from pages.ui import frame, state, text
from pages.ui.export import formats, texts
from quantlib import wording
from quantlib.export.offers import FORMATS

current = frame.begin("export", "Take the configuration away in the form its reader takes.")
stem = f"{text.safe_name(state.file_name())}-{text.file_tag(current.config)}"
st.caption(wording.config(current.config))

FORMS: dict[str, tuple[str, Callable[..., None]]] = {
    "configuration": ("explorer, quantlib", texts.configuration),
    **{name: (form.reader, partial(formats.draw, name=name)) for name, form in FORMATS.items()},
    "quantlib script": ("Python with quantlib", texts.quantlib_script),
    "Concrete ML script": ("Concrete ML 1.9", texts.concrete_ml_script),
    "report": ("people", texts.report_page),
}
left, right = st.columns([1, 3], gap="medium")
chosen = left.radio(
    "Format",
    list(FORMS),
    captions=[reader for reader, _ in FORMS.values()],
    format_func=lambda name: (
        FORMATS[name].title if name in FORMATS else name[:1].upper() + name[1:]
    ),
    key="export.form",
    bind="query-params",
    help="Each is run or read again and compared before you rely on it.",
)
with right, frame.shown_errors():
    _, draw = FORMS[chosen if chosen in FORMS else "configuration"]
    draw(current, stem=stem)
