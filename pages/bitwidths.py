"""Bit widths: every accumulator against the limit."""

import math

import streamlit as st

from pages.ui import frame, tables, text
from pages.ui.charts import layers, theme

current = frame.begin(
    "bitwidths", "The integers that layers sum up to, and whether they fit the limit."
)
found = current.evaluation()
limit = current.config.limit_bits
integer = [layer for layer in found.layers if layer.width_bits is not None]
if not integer:
    st.info("This model has no integer operator. Choose a sample, or a model with Gemm or Conv.")
    st.stop()

picture, detail = st.columns([3, 2])
with picture:
    st.plotly_chart(
        layers.accumulator_widths(found), key="bitwidths.bars", config=theme.CONFIG,
        alt="Accumulator width of each integer operator against the limit",
    )  # fmt: skip
    over = [layer for layer in integer if (layer.width_bits or 0) > limit]
    st.caption(
        f"{len(over)} of {len(integer)} accumulators are wider than {limit} bits."
        if over
        else f"All {len(integer)} accumulators fit {limit} bits."
    )
with detail:
    names = [f"{i + 1} {layer.name}" for i, layer in enumerate(integer)]
    widest = max(range(len(integer)), key=lambda i: integer[i].width_bits or 0)
    name = st.selectbox(
        "Layer", names, index=widest, key="bitwidths.layer", bind="query-params",
        help="Its width taken apart. At first the widest.",
    )  # fmt: skip
    layer = integer[names.index(name) if name in names else widest]
    low, high = layer.accumulator or (0, 0)
    st.markdown(f"**{layer.width_bits} bits** hold [{low}, {high}]")
    room = text.headroom(layer, limit)
    st.markdown(
        f"Headroom to {limit} bits: **{room} bits**"
        + ("" if layer.widest_channel is None else f"; channel {layer.widest_channel} sets it")
    )
    if layer.weight_grid and layer.input_grid and layer.fan_in:
        types_allow = layer.input_grid.n_bits + layer.weight_grid.n_bits + math.log2(layer.fan_in)
        st.markdown(
            f"| part | bits |\n| --- | --- |\n"
            f"| activation code | {layer.input_grid.n_bits} |\n"
            f"| weight code | {layer.weight_grid.n_bits} |\n"
            f"| sum of {layer.fan_in} products | {math.log2(layer.fan_in):.1f} |\n"
            f"| most the types allow | {types_allow:.1f} |\n"
            f"| seen on the data | {layer.width_bits} |"
        )
    st.caption(f"Input: {text.grid(layer.input_grid)}")
    if layer.weight_grid:
        st.caption(f"Weights: {text.grid(layer.weight_grid)}")
    if layer.weight_grid and not layer.weight_grid.is_symmetric:
        st.caption("The weights have a zero point: the accumulator holds −Z·Σx too. "
                   "Symmetric weights remove it.")  # fmt: skip

table = text.accumulator_table(found)
st.dataframe(table, hide_index=True, alt="Width, range and headroom of each accumulator")
tables.download(table, key="bitwidths.csv", content=f"widths-{text.file_tag(current.config)}")
