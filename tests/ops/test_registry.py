"""The registry alone says which operator is treated how."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.analysis.verdicts import CONCRETE_ML_OPS
from quantlib.execution.treatments import plan
from quantlib.ops.base import MixingOp, Treatment
from tests import models


def test_every_operator_of_concrete_ml_is_registered() -> None:
    assert len(CONCRETE_ML_OPS) == 58
    assert not CONCRETE_ML_OPS - ql.ONNX_OPS_TO_QUANTIZED_IMPL.keys()


@pytest.mark.parametrize("op_type", ["Shape", "Size", "ConstantOfShape"])
def test_what_knows_only_shapes_is_raw(op_type: str) -> None:
    assert ql.ONNX_OPS_TO_QUANTIZED_IMPL[op_type].treatment is Treatment.RAW


def test_a_constant_of_a_shape_is_a_function_of_no_integer_tensor() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], "shape"),
        helper.make_node("ConstantOfShape", ["s"], ["k"], "zeros"),
        helper.make_node("Size", ["x"], ["n"], "size"),
        helper.make_node("Cast", ["n"], ["m"], "cast", to=1),
        helper.make_node("Add", ["x", "k"], ["a"], "add"),
        helper.make_node("Add", ["a", "m"], ["y"], "shift"),
    ]
    graph = ql.load_model(models.build(nodes, inputs={"x": ["b", 3]}, outputs=["y"]))
    decided = dict(zip([node.name for node in graph.nodes], plan(graph), strict=True))
    raw = {name for name, item in decided.items() if item.treatment is Treatment.RAW}
    assert raw == {"shape", "zeros", "size", "cast"}
    assert decided["add"].sources == decided["shift"].sources == {"x"}
    x = models.normal(4, 3)
    module = ql.PostTrainingAffineQuantization(12, graph).quantize_module(x)
    assert np.abs(np.asarray(module.forward(x)) - (x + 12)).max() < 1e-2


@pytest.mark.parametrize(
    ("op_type", "attributes", "verdict"),
    [
        ("Cast", {"to": 9}, "keeps the numbers, against ONNX"),
        ("Cast", {"to": 1}, ""),
        ("Flatten", {"axis": 2}, "keeps all axes before `axis`, against ONNX"),
        ("Flatten", {"axis": 1}, ""),
        ("Unfold", {"kernel_shape": [2, 2], "pads": [0, 0, 0, 0]}, "its ONNX checker refuses"),
        ("Unfold", {"kernel_shape": [2, 2]}, "wants pads spelled out"),
        ("Unfold", {"kernel_shape": [2], "pads": [0, 0]}, "unfolds two axes"),
    ],
)
def test_preflight_says_where_concrete_ml_departs_from_onnx(
    op_type: str, attributes: dict[str, Any], verdict: str
) -> None:
    shape: list[Any] = ["n", 2, 4] if attributes.get("kernel_shape") == [2] else ["n", 2, 4, 4]
    nodes = [
        helper.make_node(op_type, ["x"], ["t"], "op", **attributes),
        helper.make_node("Cast", ["t"], ["y"], "out", to=1),
    ]
    graph = ql.load_model(models.build(nodes, inputs={"x": shape}, outputs=["y"], opset=14))
    found = ql.inspect_model(graph).nodes[0]
    assert verdict in found.verdict
    assert bool(found.refusal or found.departure) is bool(verdict)
    assert bool(found.refusal) is (op_type == "Unfold")


def test_operators_that_fuse_take_two_variables() -> None:
    fusing = {
        name
        for name, cls in ql.ONNX_OPS_TO_QUANTIZED_IMPL.items()
        if issubclass(cls, MixingOp) and cls.fuses
    }
    assert fusing == {"Add", "Sub", "Mul", "Div"}
    assert all(ql.ONNX_OPS_TO_QUANTIZED_IMPL[name].takes_variables for name in fusing)
