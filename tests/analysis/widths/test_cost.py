from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.cost import Cost, RoundingMethod, cost
from quantlib.analysis.widths.table_costs import WIDEST_TABLE_BITS, look_up_complexity
from quantlib.analysis.workbench import Workbench
from quantlib.data import Dataset
from tests import models
from tests.analysis.widths.test_bounds import GRAPHS, data_for
from tests.analysis.widths.test_budget import CIRCUITS, circuit
from tests.paths import SAMPLES

GOLDEN = SAMPLES.parent / "tests" / "golden"
ROUNDED = json.loads((GOLDEN / "circuits_rounded.json").read_text())["cases"]
RANDOM = json.loads((GOLDEN / "circuits_random.json").read_text())["cases"]
ARRAYS = {
    key: array
    for name in ("circuits_rounded", "circuits_random")
    for key, array in np.load(GOLDEN / f"{name}.npz").items()
}


@cache
def compiled(name: str, bits: str, threshold: int | None) -> tuple[ql.QuantizedModule, Any]:
    """Quantize a graph as it was before it was compiled; both methods of rounding share it."""
    x = ARRAYS["data" if name.startswith("random") else f"{name}.x"]
    module = ql.PostTrainingAffineQuantization(
        json.loads(bits), ARRAYS[f"{name}.model"].tobytes(), threshold
    ).quantize_module(x)
    return module, x


def rounded_circuit(case: dict[str, Any]) -> tuple[ql.QuantizedModule, Any]:
    rounding = case["rounding"]
    threshold = rounding and rounding["n_bits"]
    module, x = compiled(case["model"], json.dumps(case["n_bits"]), threshold)
    return module, x[: case["compile_samples"]]


def spent_by(case: dict[str, Any]) -> tuple[Cost, RoundingMethod]:
    module, x = rounded_circuit(case)
    rounding = case["rounding"]
    method = RoundingMethod(rounding["method"] if rounding else "exact")
    return cost(module, bit_width_budget(module, x)), method


WITH_ROUNDING = [pytest.param(case, id=case["key"]) for case in [*ROUNDED, *RANDOM]]


@pytest.mark.parametrize("case", WITH_ROUNDING)
def test_bootstraps_are_the_circuit_s_with_either_method_of_rounding(case: dict[str, Any]) -> None:
    found, method = spent_by(case)
    assert found.bootstraps(method) == case["programmable_bootstraps"]
    rounding = {
        name: count for name, count in case["bootstraps_by_tag"].items() if "rounding" in name
    }
    taken = [entry.count for entry in found.lookups if entry.reason == "rounding"]
    if method is RoundingMethod.EXACT:
        assert sum(taken) == sum(rounding.values())


@pytest.mark.parametrize("case", WITH_ROUNDING)
def test_the_report_is_the_circuit_s_with_either_method_of_rounding(case: dict[str, Any]) -> None:
    module, x = rounded_circuit(case)
    report = module.bitwidth_and_range_report(x)
    for name, entry in case["report"].items():
        assert list(report[name]["range"]) == entry["range"]
        assert report[name]["bitwidth"] == entry["bitwidth"]
    budget = bit_width_budget(module, x)
    widest = max(layer.seen_intermediate_width_bits or 0 for layer in budget.layers)
    assert widest == case["maximum_integer_bit_width"]


def test_many_circuits_were_compiled_with_either_method() -> None:
    methods = [case["rounding"] and case["rounding"]["method"] for case in ROUNDED]
    assert min(methods.count(name) for name in (None, "exact", "approximate")) >= 40


def test_tables_are_as_wide_as_those_the_compiler_is_given() -> None:
    """Where none of them follows another directly; a mover's result counts by its type."""
    compared = 0
    for case in ROUNDED:
        found, method = spent_by(case)
        tables: dict[int, int] = {}
        for name, count in case["tables"].items():
            kind, width = name.split()
            if "lookup" in kind:
                tables[int(width)] = tables.get(int(width), 0) + count
        ours: dict[int, int] = {}
        for entry in found.lookups_with(method):
            if entry.reason in ("function", "offset"):
                ours[entry.width_bits] = ours.get(entry.width_bits, 0) + entry.count
        if sum(tables.values()) == sum(ours.values()) and case["model"] != "reshaped":
            compared += 1
            assert ours == tables, case["key"]
    assert compared >= 70


def test_a_look_up_costs_what_the_optimizer_says() -> None:
    cases = json.loads((GOLDEN / "bootstraps.json").read_text())["cases"]
    measured = {case["width_bits"]: int(case["complexity"]["1"]) for case in cases}
    assert max(measured) == WIDEST_TABLE_BITS
    for width in measured:
        wider = [measured[other] for other in measured if other >= width]
        assert look_up_complexity(width) == min(wider)
    costs = [look_up_complexity(width) for width in range(1, 21)]
    assert costs == sorted(costs)
    assert look_up_complexity(18) == 4 * look_up_complexity(16)


def test_cost_ranks_circuits_as_their_complexity_does() -> None:
    """The optimizer chooses one set of parameters for a whole circuit, so values differ."""
    ours, theirs = [], []
    for case in ROUNDED:
        found, method = spent_by(case)
        if found.bootstraps(method):
            ours.append(float(found.complexity(method)))
            theirs.append(case["complexity"])
    first, second = (np.argsort(np.argsort(values)) for values in (ours, theirs))
    assert np.corrcoef(first, second)[0, 1] > 0.85


@pytest.mark.parametrize("case", [pytest.param(case, id=case["key"]) for case in CIRCUITS])
def test_look_ups_are_the_bootstraps_of_the_compiled_circuit(case: dict[str, Any]) -> None:
    module, budget = circuit(case)
    found = cost(module, budget)
    assert found.bootstraps(RoundingMethod.APPROXIMATE) == case["programmable_bootstraps"]
    assert found.bootstraps(RoundingMethod.EXACT) == case["programmable_bootstraps"]
    assert sum(found.lookups_by_width.values()) == found.n_lookups


@pytest.mark.parametrize("name", ["digits_cnn", "digits_resnet", "diabetes_mlp"])
def test_products_are_those_of_the_preflight_report(name: str) -> None:
    graph = ql.load_model(SAMPLES / f"{name}.onnx")
    data = np.load(SAMPLES / f"{name}.npz")
    module = ql.quantize(graph, data["calibration"], ql.QuantizationConfig.from_n_bits(4))
    expected = {node.name: node.macs for node in ql.inspect_model(graph).nodes if node.macs}
    assert {x.name: x.macs for x in cost(module).layers if x.macs} == expected


def test_weights_take_the_bits_that_an_evaluation_counts() -> None:
    graph = ql.load_model(models.mlp())
    x = models.normal(20, 6)
    config = ql.QuantizationConfig.from_n_bits({"op_inputs": 3, "op_weights": 5})
    data = Dataset("made", (x,), (x,), None, (), "d")
    found = evaluate(Workbench(graph, data), config)
    spent = cost(ql.quantize(graph, x, config))
    assert -(-spent.weight_bits // 8) == found.weight_bytes
    assert spent.bit_operations == spent.macs * 3 * 5 == (6 * 8 + 8 * 3) * 15
    assert [layer.activation_bits for layer in spent.layers] == [6 * 3, 8 * 3]
    assert spent.peak_activation_bits == 24


def test_without_data_tables_have_the_width_the_weights_allow() -> None:
    graph = ql.load_model(models.mlp())
    x = models.normal(20, 6)
    config = ql.QuantizationConfig.from_n_bits(5, rounding_threshold_bits=6)
    module = ql.quantize(graph, x, config)
    (hidden, _) = bit_width_budget(module).layers
    assert hidden.rounding is not None
    spent, lsbs = cost(module), hidden.rounding.lsbs_to_remove
    approximate = spent.bootstraps_by_width(RoundingMethod.APPROXIMATE)
    assert approximate == {hidden.rounding.width_bits: 8}
    assert spent.lookups_by_width == {1: 8 * lsbs, **approximate}
    plain = ql.quantize(graph, x, config.replace(rounding_threshold_bits=None))
    budget = bit_width_budget(plain, x)
    (hidden, _) = budget.layers
    assert hidden.seen is not None
    assert cost(plain).lookups_by_width == {hidden.weights.width_bits: 8}
    assert cost(plain, budget).lookups_by_width == {hidden.seen.width_bits: 8}


@pytest.mark.parametrize("case", sorted(GRAPHS))
def test_every_operator_has_a_cost(case: str) -> None:
    module = ql.quantize(GRAPHS[case], data_for(case, 20, 3), ql.QuantizationConfig.from_n_bits(6))
    found = cost(module)
    assert [x.name for x in found.layers] == [x.name for x in bit_width_budget(module).layers]
    assert all(entry.count > 0 and entry.width_bits > 0 for entry in found.lookups)
