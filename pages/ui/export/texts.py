"""The forms of the Export screen that are text: configuration, scripts, and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, frame, settings, state, text
from pages.ui.export.report_figures import report
from quantlib.core.config import QuantizationConfig
from quantlib.errors import QuantlibError
from quantlib.questions import export as questions

if TYPE_CHECKING:
    from pages.ui.current import Current

CONFIGURATION, REPORT = "Configuration (JSON)", "Report (HTML)"
QUANTLIB, CONCRETE_ML = "quantlib script", "Concrete ML script"


def configuration(current: Current, stem: str) -> None:
    """Draw the configuration as a file, and the way back."""
    config = current.config
    st.subheader("Configuration", anchor=False)
    st.markdown(
        "**Read by** this explorer and quantlib  \n**Carries** every choice  \n"
        "**Leaves out** weights and data"
    )
    st.download_button(
        CONFIGURATION,
        config.to_json(),
        file_name=f"{stem}.json",
        on_click="ignore",
        mime="application/json",
        key="export.config",
        type="primary",
        shortcut="Ctrl+Enter",
    )
    st.code(config.to_json(), language="json", height=320)
    st.file_uploader(
        "Load a configuration (.json)",
        key="export.file",
        type="json",
        on_change=_load,
        help="A file that was downloaded here. Every control follows it.",
    )
    frame.show_message("export")


def _load() -> None:
    """Adopt an uploaded configuration; keep the present one if it is refused."""
    file = st.session_state["export.file"]
    if file is None:
        return
    try:
        settings.adopt(settings.within_controls(QuantizationConfig.from_json(file.getvalue())))
        state.say("export", done=True, words=f"{file.name} is loaded.")
    except QuantlibError as error:
        state.say("export", done=False, words=f"{file.name}: {error}")


def quantlib_script(current: Current, stem: str) -> None:
    """Draw the script for this library."""
    names = _files()
    st.subheader("quantlib", anchor=False)
    st.caption(
        f"Quantizes {names['model']} with the arrays of {names['data']}, and prints the "
        "accumulators on the calibration data."
    )
    script = current.ask(questions.quantlib_script, current.config, **names)
    _script(script, QUANTLIB, f"{stem}-quantlib.py", key="export.quantlib")
    _data(current, names["data"])


def concrete_ml_script(current: Current, stem: str) -> None:
    """Draw the script for Concrete ML, with what it would refuse."""
    names = _files()
    st.subheader("Concrete ML 1.9", anchor=False)
    try:
        script, refused = current.ask(questions.concrete_ml_script, current.config, **names)
    except QuantlibError as error:
        st.error(text.plain(str(error), limit=800))
        return
    if refused:
        st.warning(
            f"Concrete ML would refuse {len(refused)} of the model's nodes:\n"
            + "\n".join(f"- {text.plain(r.layer)}: {text.plain(r.reason, 200)}" for r in refused)
        )
    else:
        st.caption("The same integers in Concrete ML, which accepts every node of this model.")
    _script(script, CONCRETE_ML, f"{stem}-concrete-ml.py", key="export.concrete")
    _data(current, names["data"])


def report_page(current: Current, stem: str) -> None:
    """Offer the report."""
    st.subheader("Report", anchor=False)
    st.markdown(
        "**Read by** people, in any browser, without a network  \n**Carries** figures, tables, "
        "configuration, versions, fingerprints of model and data  \n**Leaves out** the weights"
    )
    st.download_button(
        REPORT,
        engine.deferred_with(current.source, lambda ask: report(ask, current.config)),
        file_name=f"{stem}-report.html",
        mime="text/html",
        key="export.report",
        on_click="ignore",
        type="primary",
        help="One file that can be mailed and printed; made when you click.",
    )


def _files() -> dict[str, str]:
    name = text.safe_name(state.file_name())
    return {"model": f"{name}.onnx", "data": f"{name}.npz"}


def _script(script: str, label: str, file_name: str, *, key: str) -> None:
    st.download_button(
        label,
        script,
        file_name=file_name,
        mime="text/x-python",
        key=key,
        on_click="ignore",
        type="primary",
    )
    st.code(script, height=320)


def _data(current: Current, file_name: str) -> None:
    st.download_button(
        "Data for the script (.npz)",
        engine.deferred(bytes, current.source, questions.data_archive),
        key="export.data",
        file_name=file_name,
        mime="application/zip",
        on_click="ignore",
        help="Calibration, evaluation and labels as the screens use them.",
    )
