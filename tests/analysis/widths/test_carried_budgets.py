"""Budgets of models that bring their own grids."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.cost import cost
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.feasible import feasible_region
from quantlib.analysis.widths.remedies import remedies
from tests.analysis.widths.test_bounds import assert_nested
from tests.execution.test_carried_grids import BREVITAS
from tests.models import build, normal


def brevitas(name: str, limit_bits: int = 16) -> tuple[ql.QuantizedModule, object]:
    x = np.load(BREVITAS / f"{name}.npz")["x"]
    config = ql.QuantizationConfig.from_n_bits(6).replace(limit_bits=limit_bits)
    return ql.quantize(ql.load_model(BREVITAS / f"{name}.onnx"), x, config), x


@pytest.mark.parametrize("name", ["qat_mlp", "qat_cnn", "qat_res"])
def test_a_brevitas_model_lies_within_its_bounds(name: str) -> None:
    module, x = brevitas(name)
    budget = bit_width_budget(module, np.asarray(x) * np.float32(3))
    assert budget.layers
    assert_nested(budget)
    assert cost(module, budget).n_lookups > 0


def test_grids_of_the_model_do_not_follow_a_width() -> None:
    module, _ = brevitas("qat_mlp")
    facts = layer_facts(module)[-1]
    assert facts.variables()[0][1].quantizer.is_carried
    found = feasible_region(facts, 16)
    assert found is not None
    assert np.all(found.width_bits == bit_width_budget(module).layers[-1].weights.width_bits)


def test_what_changes_nothing_is_no_remedy() -> None:
    module, _ = brevitas("qat_mlp", limit_bits=4)
    last = bit_width_budget(module).layers[-1]
    assert not last.fits
    assert remedies(module, last.name) == ()


def test_codes_selected_from_a_grid_of_the_model_arrive_as_they_are() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "dequantize"),
        helper.make_node("MaxPool", ["d"], ["m"], "pool", kernel_shape=[2], pads=[1, 1]),
        helper.make_node("Conv", ["m", "w"], ["y"], "conv"),
    ]
    constants = {"s": np.float32(0.1), "z": np.int8(-7), "w": normal(3, 2, 3)}
    graph = ql.load_model(
        build(nodes, inputs={"x": ["n", 2, 6]}, outputs=["y"], constants=constants)
    )
    x = normal(30, 2, 6) * 4
    module = ql.quantize(graph, x, ql.QuantizationConfig.from_n_bits(5))
    budget = bit_width_budget(module, x * 5)
    assert_nested(budget)
    assert budget["pool"].weights.range == (-128, 127)
    facts = layer_facts(module)[-1]
    assert facts.variables()[0][1].codes.tolist() == [-128, 127]


def test_a_truncation_that_does_not_clip_is_bounded_by_what_it_reads() -> None:
    domain = "qonnx.custom_op.general"
    nodes = [
        helper.make_node("Quant", ["x", "s", "z", "b"], ["q"], "q", domain=domain),
        helper.make_node("Trunc", ["q", "s", "z", "b", "o"], ["t"], "t", domain=domain),
        helper.make_node("MatMul", ["t", "w"], ["y"], "mm"),
    ]
    numbers = {"s": 0.5, "z": 0.0, "b": 8.0, "o": 4.0}
    constants = {**{k: np.float32(v) for k, v in numbers.items()}, "w": normal(6, 4)}
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], opset=14, domains=[(domain, 1)],
                  constants=constants)  # fmt: skip
    x = 20 * normal(100, 6)
    module = ql.quantize(ql.load_model(model), x, ql.QuantizationConfig.from_n_bits(4))
    (layer,) = bit_width_budget(module, x).layers
    assert layer.seen is not None
    assert layer.seen.within(layer.weights)
    largest = np.abs(module.layers[-1].constants[1].codes).sum(axis=0).max()  # type: ignore[union-attr]
    assert max(map(abs, layer.weights.range)) <= 8 * largest
