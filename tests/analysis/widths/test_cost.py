from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.cost import cost
from quantlib.analysis.workbench import Workbench
from quantlib.data import Dataset
from tests import models
from tests.analysis.widths.test_bounds import GRAPHS, data_for
from tests.analysis.widths.test_budget import CIRCUITS, circuit
from tests.paths import SAMPLES


@pytest.mark.parametrize("case", [pytest.param(case, id=case["key"]) for case in CIRCUITS])
def test_look_ups_are_the_bootstraps_of_the_compiled_circuit(case: dict[str, Any]) -> None:
    module, budget = circuit(case)
    found = cost(module, budget)
    assert found.n_lookups == case["programmable_bootstraps"]
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
    assert cost(module).lookups_by_width == {hidden.rounding.width_bits: 8}
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
