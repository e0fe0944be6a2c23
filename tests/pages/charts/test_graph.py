"""The picture of a model: few traces, readable text, what is clicked says what it is."""

from __future__ import annotations

import re
from typing import Any

import pytest
from plotly.colors import unlabel_rgb

import quantlib as ql
from pages.ui.charts import graph as chart
from pages.ui.graph.painting import Measure, Paint, paint
from pages.ui.graph.picture import lay, picture
from quantlib.analysis.diagram import Diagram, diagram
from quantlib.analysis.preflight import inspect_model
from quantlib.questions.graph import Structure
from tests.models import residual
from tests.paths import SAMPLES


def of(graph: ql.Graph, values: tuple[float | None, ...] | None = None) -> tuple[Diagram, Any]:
    found = diagram(graph)
    structure = Structure(found, (), {n.name: n for n in inspect_model(graph).nodes})
    painted = (
        paint(found, Measure.TREATMENT, structure)
        if values is None
        else Paint(Measure.SQNR, values, (False,) * len(values))
    )
    return found, picture(found, lay(found), painted, found=2)


def transformer() -> ql.Graph:
    return ql.load_model(SAMPLES / "digits_transformer.onnx")


def test_a_thousand_nodes_take_no_more_traces_than_ten() -> None:
    small = ql.load_model(residual(4).SerializeToString(), name="small")
    large = ql.load_model(residual(500).SerializeToString(), name="large")
    assert len(of(large)[1].data) == len(of(small)[1].data) <= 10
    found, figure = of(large)
    assert len(found.vertices) == 1002
    assert len(figure.to_json()) < 2**20


def test_each_vertex_and_each_move_can_be_clicked() -> None:
    found, figure = of(transformer())
    titles = {row[0] for trace in figure.data if trace.customdata is not None
              for row in trace.customdata}  # fmt: skip
    moves = {f"{found.places[n]} {n}" for edge in found.edges for n in edge.moves}
    assert titles == {vertex.title for vertex in found.vertices} | moves
    assert moves


def test_text_reads_on_every_shade() -> None:
    """Contrast of WCAG 2 at least 4.5 to 1."""
    found = diagram(transformer())
    values = tuple(float(i) for i in range(len(found.vertices)))
    shades = {*chart.KINDS.values(), *chart._shades(chart.Colours("", values))}
    shades |= set(chart._shades(chart.Colours("", tuple(v - 15 for v in values), is_signed=True)))
    for shade in shades:
        ink = chart._ink(shade)
        lights = sorted((luminance(shade), luminance(ink)))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5, shade


def luminance(colour: str) -> float:
    parts = (
        [int(c, 16) for c in re.findall("..", colour[1:])]
        if colour.startswith("#")
        else unlabel_rgb(colour)
    )
    red, green, blue = (
        v / 255 / 12.92 if v / 255 <= 0.03928 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colours_follow_values_and_what_has_none_is_hollow() -> None:
    shades = chart._shades(chart.Colours("", (0.0, 10.0, None, 5.0, float("inf"), float("nan"))))
    assert shades[2] == shades[5] == chart.HOLLOW
    assert shades[4] == shades[1] != shades[0]
    signed = chart._limits(chart.Colours("", (-1.0, 3.0), is_signed=True))
    assert signed == (-3.0, 3.0)


def test_the_first_view_is_readable_and_holds_what_was_found() -> None:
    graph = ql.load_model(residual(200).SerializeToString(), name="large")
    found = diagram(graph)
    structure = Structure(found, (), {n.name: n for n in inspect_model(graph).nodes})
    layout = lay(found)
    figure = picture(found, layout, paint(found, Measure.TREATMENT, structure), found=250)
    low, high = figure.layout.yaxis.range
    assert high - low <= chart.ROWS
    assert low < layout.y[250] < high
    left, right = figure.layout.xaxis.range
    assert left < layout.x[250] < right


@pytest.mark.parametrize("name", ["x<b>y</b>", "a%{b}c", "n" * 200])
def test_names_from_models_are_text(name: str) -> None:
    from quantlib.analysis.diagram import Kind, Vertex

    words = chart.label(Vertex(name, Kind.INTEGER, 3, (name,), ("Conv",)))
    assert words.startswith("<b>3 Conv</b><br>")
    assert "<b>y" not in words and "%{" not in words and len(words) < 60
