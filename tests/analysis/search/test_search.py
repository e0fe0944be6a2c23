from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.search.descent import Effort, Ending
from quantlib.analysis.search.objective import Objective
from quantlib.analysis.search.runs import Runner
from quantlib.analysis.search.search import Progress, SearchResult, search
from quantlib.analysis.search.space import space_of, widest, with_widths
from quantlib.analysis.search.tables import CostTables, cost_tables
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.cost import cost
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.widths.table_costs import look_up_complexity
from quantlib.analysis.workbench import Workbench
from quantlib.data import Dataset
from tests import models
from tests.execution.test_carried_grids import BREVITAS
from tests.sample_data import sample

BASE = ql.QuantizationConfig.from_n_bits(6)


def result_of(name: str, config: ql.QuantizationConfig = BASE, **options: Any) -> SearchResult:
    *steps, result = search(sample(name).bench, config, **options)
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


def tables_of(
    name: str, weight_bits: list[int], activation_bits: list[int]
) -> tuple[Runner, CostTables]:
    bench = sample(name).bench
    module = bench.module(widest(BASE, weight_bits, activation_bits))
    space = space_of(module, lambda _: weight_bits, lambda _: activation_bits)
    runner = Runner(bench, space, Criterion.ANY_INPUT)
    tables = cost_tables(runner)
    assert tables is not None
    return runner, tables


def test_costs_of_one_pair_for_all_layers_are_those_of_the_configuration() -> None:
    runner, tables = tables_of("digits_mlp", [3, 5], [4, 6])
    widths = runner.space.uniform((3, 4))
    assert widths is not None
    module = runner.bench.module(runner.space.config(widths))
    found, budget = cost(module), bit_width_budget(module)
    exact = {layer.name: layer for layer in found.layers}
    for table in tables.layers:
        assert table.bit_operations[0, 0] == exact[table.name].bit_operations
        assert table.weight_size_bits[0, 0] == exact[table.name].weight_bits
        assert table.width_bits[0, 0] == budget[table.name].weights.width_bits
        looked_up = [entry for entry in found.lookups if entry.name == table.name]
        assert table.lookup_cost[0, 0] == sum(
            x.count * look_up_complexity(x.width_bits) for x in looked_up
        )


def test_single_errors_are_measured_and_grow_with_fewer_bits() -> None:
    runner, tables = tables_of("digits_mlp", [2, 4, 8], [2, 4, 8])
    for table in tables.layers:
        assert table.error[-1, -1] == 0
        assert np.all(np.diff(table.error[:, -1]) <= 0)
    first = tables.layers[0].name
    config = with_widths(tables.base, {first: (2, 8)})
    measured = evaluate(runner.bench, config).mse
    assert tables.layers[0].error[0, -1] == pytest.approx(measured - tables.base_error)


def test_a_limit_nothing_can_meet_names_the_layer() -> None:
    steps = search(sample("digits_mlp").bench, BASE.replace(limit_bits=4))
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


def test_grids_of_the_models_own_are_one_choice_and_save_nothing() -> None:
    """Seen before: 28.8 % less size claimed, 0 in truth."""
    domain = "qonnx.custom_op.general"
    quantizer = ["s", "z", "b"]
    nodes = [
        helper.make_node("Quant", ["w1", *quantizer], ["q1"], "q1", domain=domain),
        helper.make_node("MatMul", ["x", "q1"], ["a"], "own"),
        helper.make_node("Relu", ["a"], ["r"], "r"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], "free"),
    ]
    constants = {
        "s": np.float32(0.1), "z": np.float32(0), "b": np.float32(5),
        "w1": models.normal(6, 8), "w2": models.normal(8, 3),
    }  # fmt: skip
    model = models.build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], constants=constants,
                         opset=14, domains=[(domain, 1)])  # fmt: skip
    graph, x = ql.load_model(model), models.normal(120, 6)
    bench = Workbench(graph, Dataset("made", (x[:60],), (x[60:],), None, (), "made"))
    config = BASE.replace(quantize_rest=True)
    *_, found = search(bench, config, floor_db=-99.0)
    assert isinstance(found, SearchResult)
    own, free = found.best.widths["own"], found.best.widths["free"]
    assert own[0] == 0
    assert free[0] == 2
    module = bench.module(found.best.config)
    assert found.best.cost == cost(module).weight_bits == 6 * 8 * 5 + 8 * 3 * 2
    assert dict(found.best.config.overrides).get("own", ql.LayerOverride()).weights is None


def test_a_model_on_its_own_grids_has_nothing_to_search() -> None:
    graph = ql.load_model(BREVITAS / "qat_mlp.onnx")
    x = np.load(BREVITAS / "qat_mlp.npz")["x"]
    bench = Workbench(graph, Dataset("qat", (x[:50],), (x[50:],), None, (), "qat"))
    steps = search(bench, BASE)
    with pytest.raises(ql.OptionsError, match="nothing to search"):
        next(steps)


def test_one_pair_for_all_layers_is_the_plain_configuration() -> None:
    runner, _ = tables_of("digits_cnn", [3, 5], [4, 6])
    widths = runner.space.uniform((3, 4))
    assert widths is not None
    plain = runner.space.base.replace(
        weights=BASE.weights.replace(n_bits=3), activations=BASE.activations.replace(n_bits=4)
    )
    assert runner.space.config(widths) == plain
    run = runner.run(widths)
    assert run is not None
    again = evaluate(runner.bench, plain)
    assert run.sqnr_db == again.sqnr_db


def test_a_mover_takes_the_width_of_its_reader() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["a"], "g1"),
        helper.make_node("Slice", ["a", "from", "to", "axis"], ["c"], "cut"),
        helper.make_node("Gemm", ["c", "w2"], ["y"], "g2"),
    ]
    constants = {
        "w1": models.normal(6, 8), "w2": models.normal(5, 3), "from": np.array([1]),
        "to": np.array([6]), "axis": np.array([1]),
    }  # fmt: skip
    graph = ql.load_model(
        models.build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], constants=constants)
    )
    x = models.normal(60, 6)
    base = widest(BASE, [3, 8], [3, 8])
    space = space_of(ql.quantize(graph, x, base), lambda _: [3, 8], lambda _: [3, 8])
    assert space.followers == (("cut", ("g2",)),)
    config = space.config({"g1": (3, 8), "g2": (3, 3)})
    assert config.activations_of("cut").n_bits == config.activations_of("g2").n_bits == 3


def test_a_small_space_is_run_as_a_whole_and_says_so() -> None:
    found = result_of("digits_mlp", weight_bits=[3, 6], activation_bits=[4, 6])
    assert found.ending is Ending.ENUMERATED
    assert found.is_optimal
    assert found.runs == found.n_assignments == 4**3
    assert found.tried == "All 64 assignments of the widths offered were run."


def test_a_larger_space_claims_no_more_than_was_tried() -> None:
    found = result_of("digits_mlp", weight_bits=[2, 3, 4], activation_bits=[3, 4, 5])
    assert not found.is_optimal
    assert found.n_assignments == 9**3
    assert found.runs < 9**3
    assert found.tried.startswith(f"{found.runs} of 729 assignments were run; ")
    assert "may be better" in found.tried


def test_the_effort_bounds_the_descent_and_the_caller_can_stop_it() -> None:
    bits: dict[str, Any] = {"weight_bits": [2, 3, 4, 5], "activation_bits": [3, 4, 5, 6]}
    config = BASE.replace(limit_bits=10)
    none = result_of("digits_mlp", config, effort=Effort(runs=0), **bits)
    few = result_of("digits_mlp", config, effort=Effort(runs=5), **bits)
    hurried = result_of("digits_mlp", config, effort=Effort(seconds=0.0), **bits)
    assert none.ending is few.ending is Ending.RUNS_SPENT
    assert hurried.ending is Ending.TIME_SPENT
    assert few.runs == none.runs + 5
    left = iter(range(30))
    stopped = result_of("digits_mlp", config, go_on=lambda: next(left, None) is not None, **bits)
    assert stopped.ending is Ending.STOPPED
    assert stopped.runs <= 30
    nothing = search(sample("digits_mlp").bench, config, go_on=lambda: False, **bits)
    assert not list(nothing)


def test_the_floor_is_the_best_uniform_configurations_or_so_far_below() -> None:
    bits: dict[str, Any] = {"weight_bits": [3, 4, 5], "activation_bits": [4, 5]}
    same = result_of("digits_mlp", **bits)
    below = result_of("digits_mlp", below_uniform_db=1.0, **bits)
    assert same.floor_db is not None and below.floor_db is not None
    assert below.floor_db == pytest.approx(same.floor_db - 1.0)
    for found in (same, below):
        assert found.uniform is not None
        assert min(found.best.sqnr_db, found.uniform.sqnr_db) >= (found.floor_db or 0)
        assert found.gain_db == found.best.sqnr_db - found.uniform.sqnr_db


def test_what_was_seen_needs_no_more_bits_than_any_input() -> None:
    options: dict[str, Any] = {
        "weight_bits": [3, 5], "activation_bits": [4, 6], "objective": Objective.SQNR,
    }  # fmt: skip
    config = BASE.replace(limit_bits=12)
    seen = result_of("digits_mlp", config, criterion=Criterion.SEEN, **options)
    any_input = result_of("digits_mlp", config, **options)
    assert seen.best.width_bits <= 12
    assert seen.best.sqnr_db >= any_input.best.sqnr_db
    assert seen.criterion is Criterion.SEEN
