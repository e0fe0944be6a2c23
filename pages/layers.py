"""Layers: which matter, bits for each, and a search for the best."""

import streamlit as st

from pages.ui import frame
from pages.ui.layers import search
from pages.ui.layers import views as layer_views

current = frame.begin("layers", "Which layers need their bits, and which could do with fewer?")
if not any(layer.input_grid for layer in current.evaluation().layers):
    st.info("This model has no integer operator. Choose a sample, or a model with Gemm or Conv.")
    st.stop()

shows = {
    "sensitivity": layer_views.sensitivity,
    "bits by layer": layer_views.table,
    "search": search.search,
}
chosen = st.segmented_control(
    "Show",
    list(shows),
    default="sensitivity",
    required=True,
    key="layers.view",
    bind="query-params",
    help="What each layer does to the output; widths, signs and ranges by "
    "layer; an integer program that chooses the widths.",
)
shows.get(str(chosen), layer_views.sensitivity)(current)
