"""The screens' own charts as figures of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from pages.ui import text
from pages.ui.charts import budgets, layers, outputs, theme
from pages.ui.graph import painting
from pages.ui.graph.painting import Measure
from pages.ui.graph.picture import FOLDED_FROM, lay, picture
from quantlib.analysis.blocks import folded
from quantlib.analysis.widths.criterion import Criterion
from quantlib.export.report import Figure
from quantlib.questions import bitwidths, evaluations, export, graph

if TYPE_CHECKING:
    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig
    from quantlib.questions import Question


class Ask(Protocol):
    """Asks a question about a model on its data that is settled already."""

    def __call__(self, question: Question[Any, Any], /, *args: Any, **kwargs: Any) -> Any:
        """Return the answer."""


ROW_HEIGHT, MAX_GRAPH_HEIGHT = 58, 4000
"""Pixels of one layer of the graph, and at most of all."""


def report(ask: Ask, config: QuantizationConfig) -> bytes:
    """Return the report on a configuration with its figures, one HTML file in UTF-8."""
    figures = _figures(ask, config)
    document: str = ask(export.report, config, figures=figures, scripts=report_scripts())
    return document.encode()


def report_figures(bench: Workbench, config: QuantizationConfig) -> dict[str, Figure]:
    """Return the figures of a report on a configuration, by slot.

    The charts are those of Bit widths, Compare, Graph and Layers; plotly.js, which they need, comes
    once from `report_scripts`.
    """
    return _figures(lambda question, *args, **kwargs: question(bench, *args, **kwargs), config)


def _figures(ask: Ask, config: QuantizationConfig) -> dict[str, Figure]:
    found = ask(evaluations.evaluation, config).evaluation
    places = text.places(found)
    charts: dict[str, tuple[go.Figure, str]] = {
        "outputs": (outputs.scatter(found.scatter), "Float against dequantized outputs."),
        "errors": (outputs.error_histogram(found), "Errors of the outputs."),
        "sqnr": (layers.sqnr_along_graph(found), "SQNR of each operator's output."),
        "graph": _model_graph(ask, config),
    }
    budget = ask(bitwidths.budget, config)
    if budget.layers:
        cost = ask(bitwidths.cost, config)
        charts["widths"] = (
            budgets.budget_bars(budget, places),
            "Width of each accumulator: seen, allowed by the weights, allowed by the types.",
        )
        charts["look_ups"] = (budgets.look_ups(cost), "Table look-ups per sample by their width.")
    return {
        slot: Figure(_markup(figure, f"figure-{slot}"), caption)
        for slot, (figure, caption) in charts.items()
    }


def _model_graph(ask: Ask, config: QuantizationConfig) -> tuple[go.Figure, str]:
    """Return the whole model as a graph, and what it shows; large ones with folded blocks."""
    structure = ask(graph.structure)
    diagram = structure.diagram
    caption = "The model; framed is what can leave the limit for some input."
    if len(diagram.vertices) >= FOLDED_FROM:
        diagram = folded(diagram, structure.blocks)
        caption += " Blocks that repeat are folded."
    figures = ask(graph.figures, config, Criterion.ANY_INPUT)
    paint = painting.paint(diagram, Measure.TREATMENT, structure, figures)
    layout = lay(diagram)
    rows = int(layout.y.max(initial=0.0)) + 1
    height = min(MAX_GRAPH_HEIGHT, 60 + ROW_HEIGHT * rows)
    return picture(diagram, layout, paint, whole=True, height=height), caption


def report_scripts() -> tuple[str, ...]:
    """Return plotly.js."""
    return (get_plotlyjs(),)


def _markup(figure: go.Figure, name: str) -> str:
    """Return a figure as HTML; points are drawn as vectors, which print and need no WebGL."""
    drawing = figure.to_dict()
    for trace in drawing["data"]:
        trace["type"] = trace["type"].removesuffix("gl")
    markup: str = go.Figure(drawing).to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        config={**theme.CONFIG, "responsive": True},
    )
    return markup
