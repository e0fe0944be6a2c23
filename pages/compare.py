"""Compare: float against dequantized outputs."""

import streamlit as st

from pages.ui import engine, frame, samples, state, tables, text
from pages.ui.charts import layers, outputs, theme

current = frame.begin("compare", "What the model answers in float, and what it answers quantized.")
found = current.evaluation()
kept = state.pinned()
other = engine.evaluation(current.source, kept) if kept else None
MAX_IMAGES = 12

left, right = st.columns(2)
with left:
    st.plotly_chart(
        outputs.scatter(found, other), key="compare.scatter", height=420, config=theme.CONFIG,
        alt="Dequantized outputs against float outputs, with the line of no error",
    )  # fmt: skip
    st.caption("On the dashed line, quantization changes nothing. At most 4000 outputs are drawn.")
with right:
    st.plotly_chart(
        outputs.error_histogram(found), key="compare.errors", height=420, config=theme.CONFIG,
        alt="Histogram of output errors",
    )  # fmt: skip
    st.caption(
        f"Error: standard deviation {text.number(found.error_std)}, largest "
        f"{text.number(found.max_error)}. Rounding the output alone would give step / √12 = "
        f"{text.number(abs(found.output_step) / 12**0.5)}."
    )

st.plotly_chart(
    layers.sqnr_along_graph(found, other), key="compare.sqnr", height=420, config=theme.CONFIG,
    alt="SQNR of each node's output in execution order",
)  # fmt: skip
st.caption(
    "Each node's output against the float model: a step down is error that the node adds. "
    f"Cosine of the outputs {found.cosine:.5f}, mean squared error {text.number(found.mse)}."
)

if found.agreement is not None:
    st.subheader("Samples whose class changes", anchor=False)
    if not found.flips:
        st.success("No evaluation sample changes its class.")
    else:
        card = samples.cards().get(state.model_name())
        names = card.class_names if card else None
        table = text.flip_table(found, names)
        st.caption(
            f"{len(found.flips)} samples; the surest float decisions first. A margin is the "
            "distance between the two largest outputs."
        )
        if card and card.image_shape and state.source() == current.source:
            shown = found.flips[:MAX_IMAGES]
            images = engine.evaluation_inputs(current.source, [flip.sample for flip in shown])
            for column, flip, image in zip(st.columns(MAX_IMAGES), shown, images, strict=False):
                column.image(
                    text.grey_image(image.reshape(card.image_shape)), width="stretch",
                    caption=f"{flip.float_class} → {flip.quantized_class}",
                )  # fmt: skip
        st.dataframe(table, hide_index=True, height=300, alt="Samples whose class changes")
        tables.download(table, key="compare.csv", content=f"flips-{text.file_tag(current.config)}")
