"""Figures of the bit-width budget: what they draw is what was computed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import quantlib as ql
from pages.ui.charts import budgets, theme
from quantlib.analysis.widths.budget import Budget, bit_width_budget
from quantlib.analysis.widths.cost import cost
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.feasible import FeasibleRegion, feasible_region
from tests.paths import SAMPLES

if TYPE_CHECKING:
    import plotly.graph_objects as go


@functools.cache
def module() -> ql.QuantizedModule:
    data = np.load(SAMPLES / "digits_cnn.npz")
    graph = ql.load_model(SAMPLES / "digits_cnn.onnx")
    return ql.quantize(graph, data["calibration"], ql.QuantizationConfig.from_n_bits(4))


@functools.cache
def budget(limit_bits: int = 16, rounding: int | None = None) -> Budget:
    data = np.load(SAMPLES / "digits_cnn.npz")
    config = ql.QuantizationConfig.from_n_bits(4).replace(
        limit_bits=limit_bits, rounding_threshold_bits=rounding
    )
    graph = ql.load_model(SAMPLES / "digits_cnn.onnx")
    return bit_width_budget(ql.quantize(graph, data["calibration"], config), (data["evaluation"],))


@functools.cache
def region() -> FeasibleRegion:
    facts = next(f for f in layer_facts(module()) if f.layer.name == "/c2/Conv")
    found = feasible_region(facts, 12, weight_bits=(2, 4, 6), activation_bits=(3, 5))
    assert found is not None
    return found


def places() -> dict[str, int]:
    return {layer.name: 10 * (i + 1) for i, layer in enumerate(budget().layers)}


def trace(figure: go.Figure, name: str) -> Any:
    [found] = [found for found in figure.data if found.name == name]
    return found


def titles(figure: go.Figure) -> tuple[str, str]:
    return figure.layout.xaxis.title.text, figure.layout.yaxis.title.text


def test_a_bar_is_as_long_as_the_accumulator_needs() -> None:
    figure = budgets.budget_bars(budget(), places())
    layers = budget().layers
    assert titles(figure) == ("accumulator width (bits)", "")
    assert list(trace(figure, "the weights allow").x) == [x.weights.needed_bits for x in layers]
    assert list(trace(figure, "the types allow").x) == [x.types.needed_bits for x in layers]
    seen = [x.seen.needed_bits for x in layers if x.seen]
    assert list(trace(figure, "seen on data").x) == seen
    for low, high in zip(seen, trace(figure, "the weights allow").x, strict=True):
        assert low <= high


def test_bars_carry_the_number_and_the_headroom_of_their_layer() -> None:
    figure = budgets.budget_bars(budget(), places())
    names = [f"{places()[layer.name]} {layer.name}" for layer in budget().layers]
    assert list(figure.data[0].y) == names
    words = [f"{16 - layer.weights.needed_bits:+.1f} bits" for layer in budget().layers]
    assert list(figure.data[-1].text) == words


@pytest.mark.parametrize("limit_bits", [8, 9, 16])
def test_what_was_seen_over_the_limit_is_hatched_and_in_another_colour(limit_bits: int) -> None:
    bars = trace(budgets.budget_bars(budget(limit_bits), places()), "seen on data")
    over = [width > limit_bits for width in bars.x]
    assert any(over) == (limit_bits < 10)
    assert [colour == theme.OVER for colour in bars.marker.color] == over
    assert [shape == "/" for shape in bars.marker.pattern.shape] == over


def test_what_rounding_brings_within_the_limit_is_not_marked() -> None:
    bars = trace(budgets.budget_bars(budget(8, rounding=8), places()), "seen on data")
    marked = {
        str(name).split(" ", 1)[1]: (width > 8, colour == theme.OVER)
        for name, width, colour in zip(bars.y, bars.x, bars.marker.color, strict=True)
    }
    # The Gemm makes the model's output: nothing rounds it.
    assert marked["/c1/Conv"] == marked["/c2/Conv"] == (True, False)
    assert marked["/f/Gemm"] == (True, True)
    assert marked["/AveragePool"] == (False, False)


@pytest.mark.parametrize("limit_bits", [6, 11, 12])
def test_outlines_are_marked_where_any_input_counts(limit_bits: int) -> None:
    found = budget(limit_bits)
    allowed = trace(budgets.budget_bars(found, places(), Criterion.ANY_INPUT), "the weights allow")
    over = [width > limit_bits for width in allowed.x]
    assert any(over) == (limit_bits < 12)
    assert [colour == theme.OVER for colour in allowed.marker.line.color] == over
    seen = trace(budgets.budget_bars(found, places(), Criterion.SEEN), "the weights allow")
    assert theme.OVER not in seen.marker.line.color


@pytest.mark.parametrize("limit_bits", [8, 16])
def test_channels_over_the_limit_are_marked_as_their_layer_is(limit_bits: int) -> None:
    layer = next(layer for layer in budget(limit_bits).layers if layer.name == "/c2/Conv")
    bars = trace(budgets.channel_strip(layer, limit_bits), "seen on data")
    over = [int(width) > limit_bits for width in bars.y]
    assert any(over) == (limit_bits == 8)
    assert [colour == theme.OVER for colour in bars.marker.color] == over


def test_the_legend_says_the_limit_and_a_line_stands_there() -> None:
    figure = budgets.budget_bars(budget(9), places())
    assert trace(figure, "limit: 9 bits").line.color == theme.OVER
    assert [shape.x0 for shape in figure.layout.shapes] == [9]


def test_long_names_with_the_same_end_stay_apart() -> None:
    names = [f"/a/{number}/a/very/long/name/of/a/layer/c/Conv" for number in (1, 2)]
    labels = [theme.numbered({names[0]: 1, names[1]: 2}, name) for name in names]
    assert len(set(labels)) == 2
    assert all(len(label) <= 30 for label in labels)


def test_the_strip_has_a_bar_per_channel_and_the_widest_sets_the_layer() -> None:
    layer = next(layer for layer in budget().layers if layer.name == "/c2/Conv")
    figure = budgets.channel_strip(layer, 16)
    allowed = trace(figure, "the weights allow")
    assert len(allowed.y) == 16
    assert max(allowed.y) == layer.weights.width_bits == allowed.y[layer.widest_channel]
    assert all(np.asarray(trace(figure, "seen on data").y) <= np.asarray(allowed.y))
    assert titles(figure) == ("output channel", "width (bits)")
    assert figure.layout.shapes[0].y0 == 16


def test_the_map_frames_exactly_the_cells_that_fit() -> None:
    figure = budgets.fit_map(region(), None, (4, 5))
    heat, cells, frames, current = figure.data
    widths = np.array([[int(w) for w in row] for row in heat.text]).T
    np.testing.assert_array_equal(widths, region().width_bits)
    xs = np.array([x for x in frames.x if x is not None]).reshape(-1, 5)
    ys = np.array([y for y in frames.y if y is not None]).reshape(-1, 5)
    centres = {(round(x.min() + 0.42), round(y.min() + 0.42)) for x, y in zip(xs, ys, strict=True)}
    fit = {
        (w, a) for w, a, width, *_ in cells.customdata if width <= 12
    }  # fmt: skip
    assert centres == fit
    assert 0 < len(fit) < 6
    assert (list(current.x), list(current.y)) == ([4], [5])
    assert titles(figure) == ("weight bits of this layer", "activation bits of this layer")


def test_the_map_shades_by_sqnr_where_it_was_measured() -> None:
    sqnr = np.arange(6.0).reshape(3, 2)
    heat, cells, *_ = budgets.fit_map(region(), sqnr, (4, 5)).data
    np.testing.assert_array_equal(heat.z, sqnr.T)
    assert heat.colorbar.title.text == "SQNR (dB)"
    assert [row[3] for row in cells.customdata] == sqnr.ravel().tolist()


def test_costs_are_drawn_by_width_and_by_layer() -> None:
    found = cost(module(), budget())
    tables = budgets.look_ups(found)
    assert sum(tables.data[0].y) == found.n_lookups
    assert titles(tables) == ("input width of the table (bits)", "table look-ups per sample")
    operations = budgets.bit_operations(found, places())
    assert sum(operations.data[0].x) == found.bit_operations
    assert list(operations.data[0].y) == ["10 /c1/Conv", "30 /c2/Conv", "50 /f/Gemm"]
    assert "bit operations per sample" in titles(operations)[0]
