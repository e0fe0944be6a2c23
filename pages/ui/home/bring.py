"""Home's doors to other screens, the drop zone, and what was understood of what was dropped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, frame, state, tables, text, uploads
from pages.ui.charts import theme
from pages.ui.home import tables as preflight_tables
from quantlib import wording
from quantlib.limits import samples_only

if TYPE_CHECKING:
    from pages.ui.current import Current

FOLDER = Path(__file__).parent / "snippets"

SNIPPETS = {
    "PyTorch": "with_pytorch.py",
    "scikit-learn": "with_scikit_learn.py",
    "Keras": "with_keras.py",
    "Brevitas": "with_brevitas.py",
}
"""Framework to file; each file runs by itself and writes ``model.onnx`` and ``data.npz``."""

_DOORS = (
    ("compare", "See it quantized"),
    ("bitwidths", "Does it fit?"),
    ("learn", "Teach me"),
)


def doors() -> None:
    """Draw the three ways on."""
    with st.container(horizontal=True, gap="medium", key="home-doors"):
        for stem, label in _DOORS:
            st.page_link(
                frame.PAGES / f"{stem}.py",
                label=f"**{label}**",
                icon=":material/arrow_forward:",
                width="content",
            )


def show(current: Current | None) -> None:
    """Draw the drop zone, then what is current."""
    st.subheader("Your own", anchor=False)
    if samples_only():
        st.info("This server shows the samples and takes no files.")
    else:
        _drop_zone()
    frame.show_message("home")
    _snippets()
    if not state.is_sample_data():
        st.button(
            "Back to the sample" if state.sample() is None else "Back to sample data",
            key="home.back",
            icon=":material/undo:",
            on_click=state.back_to_sample,
        )
    if current is not None:
        with frame.shown_errors():
            _understood(current)


def _drop_zone() -> None:
    """Draw where a model and its data are dropped."""
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
        help="An .npz with arrays calibration, evaluation and labels; or one array or table, of "
        "which one half calibrates and the other evaluates. A last extra .csv column is the label.",
    )


def _snippets() -> None:
    """Draw how models of four frameworks become the two files."""
    with st.expander("From PyTorch, scikit-learn, Keras or Brevitas: both files in a few lines"):
        for tab, name in zip(st.tabs(list(SNIPPETS)), SNIPPETS.values(), strict=True):
            tab.code((FOLDER / name).read_text(encoding="utf-8"), language="python")


def _understood(current: Current) -> None:
    """Draw what the model and its data are, and what Concrete ML would say."""
    model, data = engine.model_card(current.source), engine.data_card(current.source)
    st.markdown(
        f"**{text.plain(model.name)}** · {wording.size(model.size_bytes)} · "
        f"{model.n_parameters:,} parameters · inputs "
        + text.plain(", ".join(model.inputs), limit=200)
        + " · outputs "
        + text.plain(", ".join(model.outputs), limit=200)
    )
    if data.is_synthetic:
        st.warning(
            f"**Synthetic data**: {data.n_calibration} calibration and {data.n_evaluation} "
            "evaluation samples were generated at random. Ranges and widths follow them, and "
            "accuracy means nothing: give data of the model's own.",
            icon=":material/science:",
        )
    else:
        labels = ", with labels" if data.has_labels else ", without labels"
        st.markdown(
            f"Data: {text.plain(data.name)}, {data.n_calibration} calibration and "
            f"{data.n_evaluation} evaluation samples{labels}"
        )
    for note in (*model.notes, *data.notes):
        st.caption(text.plain(note, limit=200))
    if words := preflight_tables.carried(model.preflight):
        st.info(words)
    st.markdown(preflight_tables.verdict(model.preflight))
    if words := wording.unseen([node.name for node in model.preflight.unseen]):
        st.warning(text.plain(words, 600))
    with st.expander("Every node, and how it is treated"):
        table = preflight_tables.preflight_table(model.preflight)
        st.dataframe(
            theme.coloured(table, "treatment"),
            hide_index=True,
            height=320,
            placeholder=tables.MISSING,
            alt="Each node of the model, how it is treated and whether Concrete ML takes it",
        )
        st.caption(
            "Integer operators need accumulators within the limit; functions of one integer "
            "tensor become table look-ups, numbered here; float islands are quantized by nobody."
        )
        tables.download(table, key="home.csv", content="nodes")
