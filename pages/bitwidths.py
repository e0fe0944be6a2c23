"""Bit widths: every accumulator against the limit."""

import streamlit as st

from pages.ui import frame, settings, tables, text
from pages.ui.bitwidths import remedies
from pages.ui.bitwidths import tables as width_tables
from pages.ui.bitwidths import views as width_views
from pages.ui.charts import budgets, theme
from quantlib.questions import bitwidths

current = frame.begin(
    "bitwidths", "Why is each accumulator as wide as it is, and what must change to fit?"
)
found = current.ask(bitwidths.budget, current.config)
limit = found.limit_bits
if not found.layers:
    st.info("This model has no integer operator. Choose a sample, or a model with Gemm or Conv.")
    st.stop()

places = text.places(current.evaluation())
names = [f"{places[layer.name]} {layer.name}" for layer in found.layers]
criterion = settings.criterion()
over = found.over_limit_by(criterion)
worst = width_views.worst(found, criterion)
st.markdown(width_views.verdict(found, names, criterion))
shown = width_views.shown(found, criterion)
with st.container(height="content" if len(shown.layers) <= width_views.MAX_BARS else 700):
    st.plotly_chart(
        budgets.budget_bars(shown, places, criterion),
        key="bitwidths.bars",
        config=theme.CONFIG,
        on_select=lambda: width_views.pick(names),
        selection_mode="points",
        alt="Accumulator width of each integer operator against the limit",
    )
st.caption(
    "At the right the headroom to the limit, for any input on the grid; one bit doubles the "
    "largest integer. A click on a bar chooses its layer."
)
if over:
    remedies.of_all(current)

if st.session_state.pop(remedies.GO_ON, False):
    st.session_state["bitwidths.layer"] = names[worst]
layer_column, view_column = st.columns([3, 2], vertical_alignment="bottom")
name = layer_column.selectbox(
    "Layer",
    names,
    index=worst,
    key="bitwidths.layer",
    bind="query-params",
    help="Its width taken apart. At first the tightest; a click on a bar chooses.",
)
layer = found.layers[names.index(name) if name in names else worst]
shows = {
    "width": lambda: width_views.width(current, layer),
    "what fits": lambda: width_views.fits(current, layer),
    "table": lambda: width_views.table(current, layer),
    "cost": lambda: width_views.cost(current),
}
chosen = view_column.segmented_control(
    "Show",
    list(shows),
    default="width",
    required=True,
    key="bitwidths.view",
    bind="query-params",
    help="Of this layer: its parts and remedies, the widths that fit, or its table look-up. Of "
    "the model: look-ups, products, memory.",
)
shows.get(str(chosen), shows["width"])()

table = width_tables.budget_table(found, criterion)
tables.show(table, alt="Width, range and headroom of each accumulator")
tables.download(
    table,
    key="bitwidths.csv",
    label="Accumulators",
    content=f"widths-{text.file_tag(current.config)}",
)
