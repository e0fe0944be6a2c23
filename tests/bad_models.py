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
        [helper.make_node("Loop", ["steps", "true", "x"], ["y"], "forever", body=body)],
        inputs={"x": ["n", 4]},
        outputs=["y"],
        constants={
            "steps": np.array(9 * 10**18),
            "true": np.array(True),
            "half": np.array(0.5, dtype=np.float32),
        },
    )


def swelling() -> onnx.ModelProto:
    """Make an Expand to six gigabytes, of which one number comes out."""
    return build(
        [
            helper.make_node("Expand", ["x", "shape"], ["wide"], "wide"),
            helper.make_node("ReduceMax", ["wide"], ["y"], "most", keepdims=1),
        ],
        inputs={"x": ["n", 1]},
        outputs=["y"],
        constants={"shape": np.array([1, 1_600_000_000])},
    )
