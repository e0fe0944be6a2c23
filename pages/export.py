"""Export: the configuration as a file, and scripts that reproduce it."""

import streamlit as st

from pages.ui import engine, frame, state, text
from quantlib import wording
from quantlib.core.config import QuantizationConfig
from quantlib.errors import QuantlibError
from quantlib.export.scripts import concrete_ml_script, quantlib_script
from quantlib.questions import evaluations
from quantlib.questions import export as questions

current = frame.begin("export", "Take the configuration away, and bring it back.")
config, name = current.config, text.safe_name(state.file_name())
stem = f"{name}-{text.file_tag(config)}"


def load() -> None:
    """Adopt an uploaded configuration; keep the present one if it is refused."""
    file = st.session_state["export.file"]
    if file is None:
        return
    try:
        state.adopt(state.within_controls(QuantizationConfig.from_json(file.getvalue())))
        state.say("export", done=True, words=f"{file.name} is loaded.")
    except QuantlibError as error:
        state.say("export", done=False, words=f"{file.name}: {error}")


st.markdown(wording.config(config))
st.subheader("Configuration", anchor=False)
left, right = st.columns(2)
with left:
    st.caption("Read by this explorer and by quantlib. Carries every choice, no weights.")
    st.code(config.to_json(), language="json", height=320)
    st.download_button(
        "Configuration (JSON)",
        config.to_json(),
        file_name=f"{stem}.json",
        on_click="ignore",
        mime="application/json",
        key="export.config",
        type="primary",
        shortcut="Ctrl+Enter",
    )
with right:
    st.file_uploader(
        "Load a configuration (.json)",
        key="export.file",
        type="json",
        on_change=load,
        help="A file that was downloaded here. Every control follows it.",
    )
    frame.show_message("export")

st.subheader("Scripts", anchor=False)
files = {"model": f"{name}.onnx", "data": f"{name}.npz"}
st.download_button(
    "Data for the scripts (.npz)",
    lambda: current.ask(questions.data_archive),
    key="export.data",
    file_name=f"{name}.npz",
    mime="application/zip",
    on_click="ignore",
    help="Calibration, evaluation and labels as the screens use them.",
)
inputs = current.ask(evaluations.input_names)
left, right = st.columns(2)
with left:
    st.markdown("**quantlib**")
    script = quantlib_script(config, **files, inputs=inputs)
    st.caption(
        f"Quantizes {name}.onnx with the arrays of {name}.npz, and prints the accumulators on the "
        "calibration data."
    )
    st.code(script, height=320)
    st.download_button(
        "quantlib script",
        script,
        file_name=f"{stem}-quantlib.py",
        mime="text/x-python",
        key="export.quantlib",
        on_click="ignore",
    )
with right:
    st.markdown("**Concrete ML 1.9**")
    try:
        carries = bool(engine.model_card(current.source).preflight.carried)
        script = concrete_ml_script(
            config, model=files["model"], data=files["data"], inputs=inputs, carries_grids=carries
        )
    except QuantlibError as error:
        st.info(str(error))
    else:
        st.caption("The same integers in Concrete ML, where it accepts the graph.")
        st.code(script, height=320)
        st.download_button(
            "Concrete ML script",
            script,
            file_name=f"{stem}-concrete-ml.py",
            mime="text/x-python",
            key="export.concrete",
            on_click="ignore",
        )
