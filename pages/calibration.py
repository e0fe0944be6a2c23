"""Calibration: distributions of weights and activations with their grids."""

import streamlit as st

from pages.ui import frame, tables, text
from pages.ui.calibration import tables as calibration_tables
from pages.ui.calibration import tensors
from pages.ui.calibration import views as calibration_views
from pages.ui.charts import distributions, theme

current = frame.begin("calibration", "Is each range right, and is there enough data to know?")
found = current.evaluation()
MAX_SHOWN = 24

kind_column, order_column, log_column = st.columns([2, 2, 1], vertical_alignment="bottom")
kind = kind_column.segmented_control(
    "Tensors",
    ["activations", "weights"],
    default="activations",
    required=True,
    key="calibration.kind",
    bind="query-params",
    help="Activations are the float inputs of integer operators on the calibration data.",
)
order = order_column.segmented_control(
    "Order",
    ["graph", "worst first"],
    default="graph",
    required=True,
    key="calibration.order",
    bind="query-params",
    help="Worst first: by the SQNR of the tensor alone on its grid.",
)
log = log_column.toggle(
    "Logarithmic",
    key="calibration.log",
    bind="query-params",
    help="Counts on a logarithmic axis show rare values.",
)
views = tensors.tensors(current, found, str(kind))
if not views:
    st.info(f"No integer operator of this model has {kind}. Choose the other kind, or a sample.")
    st.stop()
shown = sorted(views, key=lambda v: v.fit.sqnr_db) if order == "worst first" else views

st.plotly_chart(
    distributions.small_multiples(
        [
            (" · ".join([view.title, *view.badges]), view.measured, view.grid)
            for view in shown[:MAX_SHOWN]
        ],
        log=log,
    ),
    key="calibration.multiples",
    config=theme.CONFIG,
    alt=f"Small histograms of {kind}, one per integer operator",
)
counted = (
    f"the first {MAX_SHOWN} of {len(views)}" if len(views) > MAX_SHOWN else f"all {len(views)}"
)
what = "Inputs" if kind == "activations" else "Weights"
st.caption(f"{what} of integer operators ({counted}); dashed lines are the ends of the grid.")

names = [view.title for view in views]
name = st.selectbox(
    "Layer",
    names,
    key="calibration.layer",
    bind="query-params",
    help="Shown large below, with every code of the grid.",
)
view = views[names.index(name) if name in names else 0]
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
tables.show(table, alt="Treatment, grids and SQNR of each node")
tables.download(
    table,
    key="calibration.csv",
    label="Layers",
    content=f"layers-{text.file_tag(current.config)}",
)
