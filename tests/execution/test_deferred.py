"""Codes by a line or a table, against codes by real values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.core.scheme import LayerOverride, Scheme
from quantlib.execution import deferred
from tests.models import build, normal

NEVER = 1 << 62


def chain(width: int) -> ql.Graph:
    """Return two products with ordered operators between; slopes of both signs."""
    constants = {
        "w1": normal(width, 3),
        "mul": np.array([0.5, -2.0, 1.25], dtype=np.float32),
        "div": np.array([-3.0, 0.7, 8.0], dtype=np.float32),
        "slope": np.array([0.1, 0.25, 0.0], dtype=np.float32),
        "w2": normal(3, 2, seed=1),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], "first"),
        helper.make_node("Mul", ["a", "mul"], ["b"], "times"),
        helper.make_node("PRelu", ["b", "slope"], ["c"], "bend"),
        helper.make_node("Div", ["c", "div"], ["d"], "over"),
        helper.make_node("MatMul", ["d", "w2"], ["y"], "second"),
    ]
    model = build(nodes, inputs={"x": ["n", width]}, outputs=["y"], constants=constants)
    return ql.load_model(model.SerializeToString(), name="chain.onnx")


def figures(graph: ql.Graph, x: Any, config: ql.QuantizationConfig) -> dict[str, Any]:
    """Return the codes that each product reads, its accumulators, and the output's codes."""
    module = ql.quantize(graph, (x,), config)
    _, trace = module.forward(x, debug=True)
    q_x: Any = module.quantize_input(x)
    found: dict[str, Any] = {"y": module.quantized_forward(q_x)}
    for name in ("first", "second"):
        found[f"{name} reads"] = trace[name][0].qvalues
        found[f"{name} makes"] = trace[name]["output"]
    return found


@pytest.mark.parametrize("bits", [3, 8, 20, 26])
@pytest.mark.parametrize("power_of_two", [False, True])
@pytest.mark.parametrize("calibrate_on", ["quantized", "float"])
def test_lines_and_tables_change_no_integer(
    bits: int, power_of_two: bool, calibrate_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, x = chain(5), normal(60, 5, seed=2)
    few = Scheme(min(bits, 5), power_of_two=power_of_two)
    wide = Scheme(bits, power_of_two=power_of_two)
    config = ql.QuantizationConfig(wide, wide, bits, bits, calibrate_on=calibrate_on)
    config = config.with_override("second", LayerOverride(activations=few))
    found = []
    for threshold in (0, NEVER):
        monkeypatch.setattr(deferred, "VISITS", threshold)
        monkeypatch.setattr(deferred, "FIXED", threshold)
        found.append(figures(graph, x, config))
    assert found[0].keys() == found[1].keys()
    for name, integers in found[0].items():
        np.testing.assert_array_equal(integers, found[1][name], err_msg=name)


def test_accumulators_of_fifty_bits_reach_the_codes_of_the_next_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By arithmetic: ones times x in a row; what four bits hold of it is a ruler."""
    monkeypatch.setattr(deferred, "VISITS", 0)
    monkeypatch.setattr(deferred, "FIXED", 0)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], "second"),
    ]
    constants = {
        "w1": np.array([[1.0], [0.999]], dtype=np.float32),
        "w2": np.array([[1.0]], dtype=np.float32),
    }
    model = build(nodes, inputs={"x": ["n", 2]}, outputs=["y"], constants=constants)
    graph = ql.load_model(model.SerializeToString(), name="ruler.onnx")
    x = np.linspace(0, 1, 61, dtype=np.float32)[:, None].repeat(2, axis=1)
    config = ql.QuantizationConfig(Scheme(24), Scheme(24), 24, 24)
    config = config.with_override("second", LayerOverride(activations=Scheme(4)))
    found = figures(graph, x, config)
    assert np.abs(found["first makes"]).max() > 2**45
    np.testing.assert_array_equal(np.sort(np.unique(found["second reads"])), np.arange(16))
    assert np.all(np.diff(found["second reads"][:, 0]) >= 0)
