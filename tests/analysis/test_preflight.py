from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.ops.base import Treatment
from tests import models, reference
from tests.paths import SAMPLES


def report(nodes: Any, inputs: Any, constants: Any = None, *, opset: int = 14) -> ql.Preflight:
    model = models.build(nodes, inputs=inputs, outputs=["y"], constants=constants, opset=opset)
    return ql.inspect_model(ql.load_model(model))


def test_a_convolutional_model_is_told_node_by_node() -> None:
    found = ql.inspect_model(ql.load_model(SAMPLES / "digits_cnn.onnx"))
    by_name = {node.name: node for node in found.nodes}
    conv = by_name["/c2/Conv"]
    assert conv.treatment is Treatment.INTEGER
    assert conv.fan_in == 8 * 9
    assert conv.macs == 16 * 4 * 4 * 8 * 9
    assert by_name["/f/Gemm"].macs == 64 * 10
    assert by_name["/b1/BatchNormalization"].segment == by_name["/Relu"].segment == 1
    assert by_name["/b2/BatchNormalization"].segment == by_name["/Relu_1"].segment == 2
    assert by_name["/Flatten"].treatment is Treatment.MOVER
    assert found.refused == ()
    assert found.refusal == ""


def test_the_verdict_agrees_with_what_concrete_ml_did_on_the_reference_models() -> None:
    for name in reference.MODELS:
        found = ql.inspect_model(reference.model(name).graph)
        refused = any("error" in case for case in reference.model(name).cases.values())
        assert bool(found.refused) == refused
    (node,) = ql.inspect_model(reference.model("digits_branches").graph).refused
    assert (node.op_type, "scales differ" in node.refusal) == ("Concat", True)


@pytest.mark.parametrize(
    ("node", "inputs", "constants", "reason"),
    [
        (helper.make_node("Softmax", ["x"], ["y"]), {"x": ["n", 3]}, {}, "does not know Softmax"),
        (
            helper.make_node("Gemm", ["x", "w"], ["y"], alpha=0.5),
            {"x": ["n", 3]},
            {"w": models.normal(3, 2)},
            "alpha=1",
        ),
        (
            helper.make_node("Conv", ["x", "w"], ["y"], dilations=[2, 2], kernel_shape=[2, 2]),
            {"x": ["n", 1, 5, 5]},
            {"w": models.normal(2, 1, 2, 2)},
            "does not dilate",
        ),
        (
            helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], count_include_pad=0),
            {"x": ["n", 1, 4, 4]},
            {},
            "count_include_pad=1",
        ),
        (
            helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], ceil_mode=1),
            {"x": ["n", 1, 5, 5]},
            {},
            "ceil_mode",
        ),
        (
            helper.make_node("Pad", ["x", "p"], ["y"], mode="reflect"),
            {"x": ["n", 1, 5, 5]},
            {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
            "constant only",
        ),
    ],
)
def test_a_refusal_names_its_reason(node: Any, inputs: Any, constants: Any, reason: str) -> None:
    (found,) = report([node], inputs, constants).nodes
    assert reason in found.refusal


def test_another_operator_set_is_said() -> None:
    found = report([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", 3]}, opset=21)
    assert "operator set 14 only, this is 21" in found.refusal


def test_two_functions_of_one_tensor_share_a_look_up_and_two_tensors_do_not() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "relu"),
        helper.make_node("Tanh", ["x"], ["b"], "tanh"),
        helper.make_node("Add", ["a", "b"], ["y"], "sum"),
    ]
    relu, tanh, total = report(nodes, {"x": ["n", 3]}).nodes
    assert total.treatment is Treatment.LOOKUP
    assert total.segment in (relu.segment, tanh.segment)
