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


def _title(name: str) -> str:
    return FORMATS[name].title if name in FORMATS else name[:1].upper() + name[1:]


chosen = st.radio(
    "Format",
    list(FORMS),
    format_func=_title,
    key="export.form",
    bind="query-params",
    horizontal=True,  # the panel of the last format stands as near as that of the first
    help="Each is run or read again and compared before you rely on it.\n\n"
    + "\n".join(f"- **{_title(name)}** {reader}" for name, (reader, _) in FORMS.items()),
)
with frame.shown_errors():
    _, draw = FORMS[chosen if chosen in FORMS else "configuration"]
    draw(current, stem=stem)
