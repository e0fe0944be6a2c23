from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.search.program import Objective
from quantlib.analysis.search.search import Progress, SearchResult, search
from quantlib.analysis.search.tables import cost_tables, with_widths
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.cost import cost
from tests.sample_data import sample

BASE = ql.QuantizationConfig.from_n_bits(6)


def result_of(name: str, config: ql.QuantizationConfig = BASE, **options: Any) -> SearchResult:
    bench = sample(name).bench
    *steps, result = search(bench, config, **options)
    assert isinstance(result, SearchResult)
    assert steps
    assert all(isinstance(step, Progress) and step.done <= step.total for step in steps)
    return result


@pytest.mark.parametrize("objective", list(Objective))
def test_the_result_keeps_what_was_asked_for_when_it_is_run_again(objective: Objective) -> None:
    config = BASE.replace(limit_bits=14)
    found = result_of("digits_mlp", config, objective=objective)
    bench = sample("digits_mlp").bench
    measured = evaluate(bench, found.best.config)
    assert measured.sqnr_db == pytest.approx(found.best.sqnr_db)
    budget = bit_width_budget(bench.module(found.best.config))
    assert not budget.over_limit
    if found.floor_db is not None:
        assert found.best.sqnr_db >= found.floor_db
    if found.uniform is not None:
        assert found.best.cost <= found.uniform.cost or objective is Objective.SQNR
    assert found.beats_uniform == (found.gain > 0)


def test_the_search_beats_the_best_uniform_configuration_of_the_cnn() -> None:
    found = result_of("digits_cnn", objective=Objective.SQNR)
    assert found.uniform is not None
    assert found.gain > 3  # dB
    assert found.best.width_bits <= 16


def test_costs_in_closed_form_are_those_of_the_configuration() -> None:
    bench = sample("digits_mlp").bench
    *_, (_, _, tables) = cost_tables(bench, BASE, weight_bits=[3, 5], activation_bits=[4, 6])
    assert tables is not None
    widths = {table.name: (3 if table.weight_bits != (0,) else 0, 4) for table in tables.layers}
    module = bench.module(with_widths(tables.base, widths))
    exact = {layer.name: layer for layer in cost(module).layers}
    bounds = bit_width_budget(module)
    for table in tables.layers:
        assert table.bit_operations[0, 0] == exact[table.name].bit_operations
        biases = (
            32
            * module.graph.constants[
                next(n for n in bench.graph.nodes if n.name == table.name).inputs[2]
            ].size
        )
        assert table.weight_size_bits[0, 0] == exact[table.name].weight_bits - biases
    first = tables.layers[0]
    assert first.width_bits[0, 0] == bounds[first.name].weights.width_bits


def test_single_errors_are_measured_and_grow_with_fewer_bits() -> None:
    bench = sample("digits_mlp").bench
    *_, (_, _, tables) = cost_tables(bench, BASE, weight_bits=[2, 4, 8], activation_bits=[2, 4, 8])
    assert tables is not None
    for table in tables.layers:
        assert table.error[-1, -1] == 0
        assert np.all(np.diff(table.error[:, -1]) <= 0)
    first = tables.layers[0].name
    config = with_widths(tables.base, {first: (2, 8)})
    measured = evaluate(bench, config).mse - tables.base_error
    assert tables.layers[0].error[0, -1] == pytest.approx(measured)


def test_a_limit_nothing_can_meet_names_the_layer() -> None:
    bench = sample("digits_mlp").bench
    steps = search(bench, BASE.replace(limit_bits=4))
    with pytest.raises(ql.OptionsError, match=r"needs at least .* the limit is 4"):
        next(steps)  # before anything is measured


def test_a_floor_nothing_can_reach_says_what_is_closest() -> None:
    with pytest.raises(ql.OptionsError, match=r"keeps 90.0 dB .* reaches"):
        result_of("digits_mlp", floor_db=90.0)


def test_widths_by_layer_leave_out_what_the_configuration_says_already() -> None:
    config = with_widths(BASE, {"a": (6, 6), "b": (3, 6), "c": (0, 4)})
    assert dict(config.overrides) == {
        "b": ql.LayerOverride(weights=BASE.weights.replace(n_bits=3)),
        "c": ql.LayerOverride(activations=BASE.activations.replace(n_bits=4)),
    }


def test_a_width_without_a_grid_is_no_choice_and_no_error() -> None:
    config = BASE.replace(weights=ql.Scheme(6, symmetric=True))
    found = result_of("digits_mlp", config, weight_bits=[1, 4, 6], objective=Objective.SIZE)
    assert all(w != 1 for w, _ in found.best.widths.values())


def test_no_width_at_all_is_refused() -> None:
    with pytest.raises(ql.OptionsError, match="at least one weight width"):
        result_of("digits_mlp", weight_bits=[])


def test_an_objective_that_costs_nothing_has_no_gain() -> None:
    found = result_of("iris_linear", objective=Objective.LOOKUPS)
    assert found.best.cost == 0
    assert found.gain == 0
