"""Graph: the model as it is drawn, painted with what quantization does to it."""

import streamlit as st

from pages.ui import engine, frame, settings, tables, text
from pages.ui.graph import card, painting
from pages.ui.graph import tables as graph_tables
from pages.ui.graph import views as graph_views
from quantlib.questions import graph

current = frame.begin(
    "graph", "Where in the model does quantization hurt, and why there?", headline=False
)
head = st.container()
structure = current.ask(graph.structure)
if not structure.reports:
    st.info("This model has no operator: its inputs are its outputs. Choose another one.")
    st.stop()
measure = graph_views.measure_control()
node, diagram = graph_views.choose(structure)

verdict = st.empty()
left, right = st.columns([3, 2], gap="medium")
map_place, card_place = left.empty(), right.container(height=700, border=True).empty()
if not engine.is_known(current.source, graph.figures, current.config, settings.criterion()):
    # the structure needs no run: it is on the screen while the figures are computed
    paint = painting.paint(diagram, measure, structure)
    graph_views.draw(map_place, diagram, paint, node, key="graph.before")
    with card_place.container():
        card.before_run(structure, node)
figures = None
with head, frame.shown_errors():
    frame.figures(current)
    figures = current.ask(graph.figures, current.config, settings.criterion())
if figures is None:
    card_place.empty()
    st.stop()
with frame.shown_errors():
    sensitivity = graph_views.sensitivity(current, measure, left)
    paint = painting.paint(diagram, measure, structure, figures, sensitivity)
    verdict.markdown(graph_views.verdict(structure, diagram, paint, current.config.limit_bits))
    graph_views.draw(map_place, diagram, paint, node, key="graph.map")
    left.caption(graph_views.EXPLAINED)
    with card_place.container():
        card.draw(current, structure, node)
    table = graph_tables.vertex_table(diagram, paint)
    graph_views.table(table, diagram)
    tables.download(table, key="graph.csv", content=f"graph-{text.file_tag(current.config)}")
