"""Home: choose a model and data."""

import streamlit as st

from pages.ui import engine, frame, settings, state, tables, text, uploads
from pages.ui.charts import theme
from pages.ui.home import samples
from pages.ui.home import tables as preflight_tables
from quantlib import wording
from quantlib.limits import samples_only

current = frame.begin_without_model("home", "Choose a model; every other screen follows it.")

COLUMNS = 4


st.subheader("Samples", anchor=False)
for i, card in enumerate(samples.cards().values()):
    if i % COLUMNS == 0:
        columns = st.columns(COLUMNS, gap="small")
    with columns[i % COLUMNS].container(border=True, height="stretch"):
        st.markdown(f"**{card.title}**")
        st.caption(f"{card.metric} {card.metric_value:.3g} · {wording.size(card.size_bytes)}")
        st.caption(card.interesting)
        st.button(
            "Current" if state.model_name() == card.name else "Open",
            key=f"home.open.{card.name}",
            disabled=state.model_name() == card.name,
            on_click=lambda name=card.name: st.session_state.update({settings.KEYS["model"]: name}),
        )

if samples_only():
    st.info("This server shows the samples and takes no files.")
else:
    st.subheader("Your own", anchor=False)
    left, right = st.columns(2)
    left.file_uploader(
        "Model (.onnx)",
        key="home.model",
        on_change=uploads.take,
        args=("model",),
        type="onnx",
        help="One file with all weights inside. Without data, normal random values are generated "
        "and marked as synthetic.",
    )
    right.file_uploader(
        "Data for the current model (.npz, .npy, .csv)",
        key="home.data",
        on_change=uploads.take,
        args=("data",),
        type=["npz", "npy", "csv"],
        help="An .npz with arrays calibration, evaluation and labels; or one array or table, of which "
        "one half calibrates and the other evaluates. A last extra .csv column is the label.",
    )
frame.show_message("home")

if current is None:
    st.stop()
st.subheader("Current model", anchor=False)
model, data = engine.model_card(current.source), engine.data_card(current.source)
left, right = st.columns([3, 1])
with left:
    st.markdown(
        f"**{text.plain(model.name)}** · {wording.size(model.size_bytes)} · "
        f"{model.n_parameters:,} parameters"
    )
    st.markdown("Inputs: " + text.plain(", ".join(model.inputs), limit=200))
    st.markdown("Outputs: " + text.plain(", ".join(model.outputs), limit=200))
    st.markdown(f"Data: {text.plain(data.name)}" + (", with labels" if data.has_labels else ""))
    for note in (*model.notes, *data.notes):
        st.caption(text.plain(note, limit=200))
with right:
    for page, label in (
        ("compare", "See it quantized"),
        ("bitwidths", "Does it fit?"),
        ("learn", "Teach me"),
    ):
        st.page_link(frame.PAGES / f"{page}.py", label=label, icon=":material/arrow_forward:")
if words := preflight_tables.carried(model.preflight):
    st.info(words)
st.markdown(preflight_tables.verdict(model.preflight))
if words := wording.unseen([node.name for node in model.preflight.unseen]):
    st.warning(text.plain(words, 600))
table = preflight_tables.preflight_table(model.preflight)
st.dataframe(
    theme.coloured(table, "treatment"),
    hide_index=True,
    height=320,
    placeholder=tables.MISSING,
    alt="Each node of the model, how it is treated and whether Concrete ML takes it",
)
st.caption(
    "Integer operators need accumulators within the limit; functions of one integer tensor "
    "become table look-ups, numbered here; float islands are quantized by nobody."
)
tables.download(table, key="home.csv", content="nodes")
