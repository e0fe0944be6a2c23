"""Figures and words of the Sweep screen, from results made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

import quantlib as ql
from pages.ui.charts import fronts, sweeps
from pages.ui.sweep import words as sweep_words
from quantlib.analysis.sweep.measures import MEASURES
from quantlib.analysis.sweep.result import SweepResult
from tests.sweeps import changed
from tests.sweeps import result as made_of

BASE = ql.QuantizationConfig.from_n_bits(4)


def result(
    weights: int, activations: int, sqnr_db: float, seen: int, **more: float | None
) -> SweepResult:
    config = BASE.replace(
        weights=ql.Scheme(weights), activations=ql.Scheme(activations), output_bits=8
    )
    made = made_of(
        config, sqnr_db, 0.1, 0.9, 1.0, None, None, 20, 18, seen, 17.5, 100 * weights, 5, 6, 0.1
    )
    return changed(made, **more)


FOUND = [
    result(3, 4, 10.0, 9),
    result(3, 4, 14.0, 12, mse=0.3),
    result(3, 6, 15.0, 17),
    result(5, 4, 12.0, 11),
    result(5, 6, math.inf, 18),
]
HOVERS = [str(i) for i in range(len(FOUND))]
SQNR, MSE, SEEN = MEASURES["sqnr_db"], MEASURES["mse"], MEASURES["widest_seen_bits"]


@pytest.mark.parametrize(("measure", "best"), [(SQNR, 1), (MSE, 0)], ids=["more", "less"])
def test_a_cell_shows_the_best_of_its_configurations(measure: object, best: int) -> None:
    assert isinstance(measure, type(SQNR))
    figure = sweeps.heat_map(FOUND, measure=measure, label="m", hovers=HOVERS, current=BASE)
    heat, points = figure.data[0], figure.data[1]
    assert (list(heat.x), list(heat.y)) == ([3, 5], [4, 6])
    assert heat.z[0][0] == measure.of(FOUND[best])
    assert list(points.customdata[0]) == [best, str(best)]


def test_an_exact_result_has_a_cell_without_a_number() -> None:
    figure = sweeps.heat_map(FOUND, measure=SQNR, label="m", hovers=HOVERS, current=BASE)
    assert figure.data[0].z[1][1] is None
    assert len(figure.data[1].customdata) == 4


def test_outlines_tell_what_fits_and_what_is_selected() -> None:
    current = FOUND[0].config
    figure = sweeps.heat_map(
        FOUND, measure=SQNR, label="m", hovers=HOVERS, current=current, selected=FOUND[3].config
    )
    dashes = [shape.line.dash for shape in figure.layout.shapes if shape.line.dash]
    assert (dashes.count("solid"), dashes.count("dot")) == (2, 2)
    names = [trace.name for trace in figure.data if trace.name]
    assert names == ["fits 16 bits", "over the limit", "selected", "current"]


def test_a_front_is_joined_and_the_rest_is_dimmed() -> None:
    figure = fronts.pareto(
        FOUND, measures=(SEEN, SQNR), labels=("a", "b"), hovers=HOVERS, limit_bits=16, selected=2
    )
    dimmed, front, ring = figure.data
    assert [entry[0] for entry in front.customdata] == [0, 3, 1, 2]
    assert list(front.x) == [9, 11, 12, 17]
    assert len(dimmed.x) == 0
    assert dimmed.marker.opacity < front.marker.opacity
    assert (list(ring.x), list(ring.y)) == ([17], [15.0])
    assert "lines" in front.mode


def test_a_third_measure_moves_the_front_and_is_an_area() -> None:
    size = MEASURES["weight_bytes"]
    more = [*FOUND, result(2, 4, 9.0, 11), result(5, 4, 8.0, 12)]
    assert fronts.front_of(more, (SEEN, SQNR)).tolist() == [True] * 5 + [False, False]
    assert fronts.front_of(more, (SEEN, SQNR, size)).tolist() == [True] * 6 + [False]
    figure = fronts.pareto(
        more, measures=(SEEN, SQNR, size), labels=("a", "b", "c"), hovers=[*HOVERS, "5", "6"],
        limit_bits=16,
    )  # fmt: skip
    dimmed, front, line = figure.data
    assert front.mode == "markers"
    # by hand: of the axes alone, more decibels cost more bits
    assert list(line.x) == [9, 11, 12, 17]
    assert list(line.y) == [10.0, 12.0, 14.0, 15.0]
    diameters = dict(zip([entry[0] for entry in front.customdata], front.marker.size, strict=True))
    assert diameters[5] < diameters[0] < diameters[3] == dimmed.marker.size[0]


def test_missing_figures_are_never_on_the_front() -> None:
    assert not fronts.front_of(FOUND, (SEEN, MEASURES["score"])).any()


def test_curves_take_the_best_of_what_else_varies() -> None:
    weights, activations = sweep_words.AXES[0], sweep_words.AXES[1]
    figure = sweeps.curves(
        FOUND, measure=SQNR, label="m", hovers=HOVERS, x=(weights.label, weights.of),
        by=(activations.label, activations.of), order=sweep_words.ordered,
    )  # fmt: skip
    assert [(curve.name, list(curve.x), list(curve.y)) for curve in figure.data] == [
        ("4", [3, 5], [14.0, 12.0]),
        ("6", [3, 5], [15.0, None]),
    ]


def test_edges_that_follow_are_no_axis_of_their_own() -> None:
    follows = [
        replace(r, config=r.config.replace(output_bits=max(5, r.config.activations.n_bits)))
        for r in FOUND
    ]
    assert [axis.label for axis in sweep_words.varied(follows)] == [
        "weight bits",
        "activation bits",
    ]
    free = [replace(FOUND[0], config=FOUND[0].config.replace(output_bits=n)) for n in (8, 9)]
    assert [axis.label for axis in sweep_words.varied(free)] == ["output bits"]


def test_a_difference_names_each_choice_that_changes() -> None:
    other = BASE.replace(
        weights=ql.Scheme(6, signed=True, per_channel=True, estimator=ql.Estimator("mse")),
        rounding_threshold_bits=7,
    )
    assert sweep_words.differences(other, BASE) == [
        "weight bits 4 → 6",
        "weights signed auto → yes",
        "weights per channel no → yes",
        "range of weights min-max → mse",
        "rounding (bits) off → 7",
    ]
    assert sweep_words.differences(BASE, BASE) == []


def test_the_whole_grid_is_there_before_the_first_results() -> None:
    cells = {(w, a) for w in (2, 3, 4, 5) for a in (3, 6)}
    first = FOUND[:1]
    figure = sweeps.heat_map(
        first, measure=MEASURES["sqnr_db"], label="SQNR (dB)", hovers=[""],
        current=first[0].config, planned=cells,
    )  # fmt: skip
    grid = figure.data[0]
    widths = (first[0].config.weights.n_bits, first[0].config.activations.n_bits)
    every = cells | {widths}
    assert list(grid.x) == sorted({w for w, _ in every})
    assert list(grid.y) == sorted({a for _, a in every})
    filled = [value for row in grid.z for value in row if value is not None]
    assert filled == [10.0]


def test_ticks_of_shares_tell_near_ones_apart_and_the_current_one_is_ringed() -> None:
    agreement = MEASURES["agreement"]
    near = [changed(entry, agreement=0.97 + 0.004 * i) for i, entry in enumerate(FOUND)]
    figure = fronts.pareto(
        near, measures=(SEEN, agreement), labels=("a", "b"), hovers=HOVERS, limit_bits=16, current=1
    )
    assert figure.layout.yaxis.tickformat == ".2~%"
    [ring] = [trace for trace in figure.data if trace.name == "current"]
    assert (list(ring.x), list(ring.y)) == ([12], [0.974])
