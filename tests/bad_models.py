"""Small models, all legal to write down, that end, halt or swell the program that runs them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.models import build


def blank_sum() -> onnx.ModelProto:
    """Make a Sum with a blank among its inputs: ONNX Runtime ends by signal 11."""
    return build(
        [
            helper.make_node("Relu", ["x"], ["h"], "act"),
            helper.make_node("Sum", ["h", "", "h"], ["y"], "sum"),
        ],
        inputs={"x": ["n", 4]},
        outputs=["y"],
    )


def endless_loop() -> onnx.ModelProto:
    """Make a Loop of 9e18 steps."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Mul", ["v", "half"], ["v_next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_next", TensorProto.FLOAT, None),
        ],
    )
    return build(
        [
            *_from_data("steps"),
            helper.make_node("Loop", ["steps", "true", "x"], ["y"], "forever", body=body),
        ],
        inputs={"x": ["n", 4]},
        outputs=["y"],
        constants={
            "zero": np.array(0.0, dtype=np.float32),
            "many": np.array(9e18, dtype=np.float32),
            "true": np.array(True),
            "half": np.array(0.5, dtype=np.float32),
        },
    )


def swelling() -> onnx.ModelProto:
    """Make an Expand to six gigabytes, of which one number comes out."""
    return build(
        [
            *_from_data("wide_size"),
            helper.make_node("Unsqueeze", ["wide_size", "first"], ["size"], "unsqueeze"),
            helper.make_node("Concat", ["one", "size"], ["shape"], "concat", axis=0),
            helper.make_node("Expand", ["x", "shape"], ["wide"], "wide"),
            helper.make_node("ReduceMax", ["wide"], ["y"], "most", keepdims=1),
        ],
        inputs={"x": ["n", 1]},
        outputs=["y"],
        constants={
            "zero": np.array(0.0, dtype=np.float32),
            "many": np.array(1.6e9, dtype=np.float32),
            "one": np.array([1]),
            "first": np.array([0]),
        },
    )


def _from_data(name: str) -> list[onnx.NodeProto]:
    """Return nodes that make the whole number `many`, which nobody knows before data have run."""
    return [
        helper.make_node("ReduceMax", ["x"], [f"{name}_most"], f"{name}_most", keepdims=0),
        helper.make_node("Mul", [f"{name}_most", "zero"], [f"{name}_none"], f"{name}_none"),
        helper.make_node("Add", [f"{name}_none", "many"], [f"{name}_real"], f"{name}_real"),
        helper.make_node("Cast", [f"{name}_real"], [name], name, to=TensorProto.INT64),
    ]
