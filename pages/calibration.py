"""Calibration: distributions of weights and activations with their grids."""

import streamlit as st

from pages.ui import engine, frame, tables, text
from pages.ui.charts import distributions, theme
from quantlib.analysis.histograms import grid_fit

current = frame.begin(
    "calibration", "Each tensor's distribution, and the grid that quantization lays over it."
)
found = current.evaluation()
measured = engine.distributions(current.source)
MAX_SHOWN = 24

kind = st.segmented_control(
    "Tensors", ["activations", "weights"], default="activations", required=True,
    key="calibration.kind", bind="query-params",
    help="Activations are the float inputs of integer operators on the calibration data.",
)  # fmt: skip
log = st.toggle("Logarithmic counts", key="calibration.log", bind="query-params",
                help="Shows rare values; the height is then a logarithm.")  # fmt: skip
items = []
for i, layer in enumerate(found.layers):
    if kind == "weights":
        histogram, grid = measured.weights.get(layer.weight_name), layer.weight_grid
    else:
        histogram, grid = measured.activations.get(layer.input_name), layer.input_grid
    if histogram is not None and grid is not None:
        items.append((f"{i + 1} {layer.name}", histogram, grid))

if not items:
    st.info(f"No integer operator of this model has {kind}. Choose the other kind, or a sample.")
    st.stop()

st.plotly_chart(
    distributions.small_multiples(items[:MAX_SHOWN], log=log), key="calibration.multiples",
    config=theme.CONFIG, alt=f"Small histograms of {kind}, one per integer operator",
)  # fmt: skip
shown = f"the first {MAX_SHOWN} of {len(items)}" if len(items) > MAX_SHOWN else f"all {len(items)}"
what = "Inputs" if kind == "activations" else "Weights"
st.caption(f"{what} of integer operators ({shown}); dashed lines are the ends of the grid.")

names = [name for name, *_ in items]
name = st.selectbox(
    "Layer", names, key="calibration.layer", bind="query-params",
    help="Shown large below, with every code of the grid.",
)  # fmt: skip
_, histogram, grid = items[names.index(name) if name in names else 0]
fit = grid_fit(histogram, grid)
picture, figures = st.columns([3, 1])
with picture:
    st.plotly_chart(
        distributions.tensor_histogram(histogram, grid, log=log, unit=f"value of the {kind}"),
        key="calibration.large", height=420, config=theme.CONFIG,
        alt="Histogram of the chosen tensor with the quantization grid",
    )  # fmt: skip
with figures:
    st.markdown(text.grid(grid))
    st.markdown(
        f"range [{text.number(float(histogram.stats.rmin))}, "
        f"{text.number(float(histogram.stats.rmax))}], {histogram.n_values:,} values"
    )
    st.metric("SQNR of this tensor", text.decibel(fit.sqnr_db),
              help="From the histogram: bin centres stand for values.")  # fmt: skip
    st.metric("Clipped", text.share(fit.clipped_share), help="Values outside the grid's range.")
    st.metric("Rounded to zero", text.share(fit.zero_share),
              help="Values other than 0 whose code stands for 0.")  # fmt: skip
    st.metric("Codes in use", f"{fit.used_codes} of {grid.qmax - grid.qmin + 1}",
              help="Codes that at least one bin of the histogram maps to.")  # fmt: skip

table = text.layer_table(found)
st.dataframe(table, hide_index=True, alt="Treatment, grids and SQNR of each node")
tables.download(table, key="calibration.csv", content=f"layers-{text.file_tag(current.config)}")
