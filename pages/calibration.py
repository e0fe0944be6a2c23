"""Calibration: distributions of weights and activations with their grids."""

import streamlit as st

from pages.ui import frame, tables, text
from pages.ui.calibration import tables as calibration_tables
from pages.ui.calibration import tensors
from pages.ui.calibration import views as calibration_views
from pages.ui.charts import distributions, theme

current = frame.begin("calibration", "Is each range right, and is there enough data to know?")
found = current.evaluation()
MAX_SHOWN, MORE = 9, 48

row = st.container(horizontal=True, gap="large", vertical_alignment="bottom")
kind = row.segmented_control(
    "Tensors",
    ["activations", "weights"],
    default="activations",
    required=True,
    key="calibration.kind",
    bind="query-params",
    help="Activations are the float inputs of integer operators on the calibration data.",
)
order = row.segmented_control(
    "Order",
    ["worst first", "graph"],
    default="worst first",
    required=True,
    key="calibration.order",
    bind="query-params",
    help="Worst first: those with something suspicious, then by the SQNR of the tensor alone on "
    "its grid.",
)
log = row.toggle(
    "Logarithmic",
    value=True,
    key="calibration.log",
    bind="query-params",
    help="Counts on a logarithmic axis show rare values; one spike at 0 hides them else.",
)
views = tensors.tensors(current, found, str(kind))
if not views:
    st.info(f"No integer operator of this model has {kind}. Choose the other kind, or a sample.")
    st.stop()
st.markdown(tensors.verdict(views, str(kind)))
worst_first = sorted(views, key=lambda view: view.badness)
shown = worst_first if order == "worst first" else views
limit = MAX_SHOWN
if len(views) > MAX_SHOWN and st.toggle(
    f"Show {min(len(views), MORE)} of {len(views)}",
    key="calibration.all",
    bind="query-params",
    help="The first ones of the order are shown; any can be chosen by name below.",
):
    limit = MORE
shown = shown[:limit]
names = [view.title for view in views]
st.plotly_chart(
    distributions.small_multiples(
        [(view.title, " · ".join(view.badges), view.measured, view.grid) for view in shown],
        log=log,
    ),
    key="calibration.multiples",
    config=theme.CONFIG,
    on_select=lambda: calibration_views.pick([view.title for view in shown]),
    selection_mode="points",
    alt=f"Small histograms of {kind}, one per integer operator",
)
counted = f"{len(shown)} of {len(views)}" if len(shown) < len(views) else f"all {len(views)}"
what = "Inputs" if kind == "activations" else "Weights"
st.caption(
    f"{what} of integer operators ({counted}); dashed lines are the ends of the grid. Click one to "
    "see it large."
)

name = st.selectbox(
    "Layer",
    names,
    index=names.index(worst_first[0].title),
    key="calibration.layer",
    bind="query-params",
    help="Shown large below, with every code of the grid. At first the worst.",
)
view = views[names.index(name) if name in names else names.index(worst_first[0].title)]
shows = {
    "ranges": lambda: calibration_views.ranges(current, view, log=log),
    "channels": lambda: calibration_views.channels(view),
    "enough samples?": lambda: calibration_views.samples(current, view),
}
chosen = st.segmented_control(
    "Of this tensor",
    list(shows),
    default="ranges",
    required=True,
    key="calibration.view",
    bind="query-params",
    help="Its range and grid; its channels; whether more samples are needed.",
)
shows.get(str(chosen), shows["ranges"])()

table = calibration_tables.layer_table(found)
with st.expander("Table: all layers"):
    tables.show(table, alt="Treatment, grids and SQNR of each node")
    tables.download(
        table,
        key="calibration.csv",
        label="Layers",
        content=f"layers-{text.file_tag(current.config)}",
    )
