"""Each operator on a fine grid against ONNX Runtime's float result."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

import quantlib as ql
from quantlib.ops.base import MixingOp, Treatment
from tests import models

IMAGE = {"x": ["n", 4, 9, 7]}
LINE = {"x": ["n", 4, 11]}
ROW = {"x": ["n", 6]}
PAIR = [
    helper.make_node("Gemm", ["x", "w1"], ["a"], "ga"),
    helper.make_node("Gemm", ["x", "w2"], ["b"], "gb"),
]
PAIR_WEIGHTS = {"w1": models.normal(6, 5), "w2": models.normal(6, 5, seed=1)}


def node(op_type: str, inputs: str = "x", **attributes: Any) -> Any:
    return helper.make_node(op_type, inputs.split(), ["y"], "op", **attributes)


def pair(op_type: str) -> tuple[Any, ...]:
    return [*PAIR, node(op_type, "a b")], ROW, PAIR_WEIGHTS


CASES: dict[str, tuple[Any, ...]] = {
    "gemm": (
        [node("Gemm", "x w b", transB=1)], ROW,
        {"w": models.normal(5, 6), "b": models.normal(5)},
    ),
    "gemm-alpha-beta": (
        [node("Gemm", "x w b", alpha=0.5, beta=2.0)], ROW,
        {"w": models.normal(6, 5), "b": models.normal(5)},
    ),
    "matmul": ([node("MatMul", "x w")], ROW, {"w": models.normal(6, 5)}),
    "matmul-3d": ([node("MatMul", "x w")], LINE, {"w": models.normal(11, 5)}),
    "matmul-of-two": (
        [
            *PAIR,
            helper.make_node("Transpose", ["b"], ["t"], "tr", perm=[1, 0]),
            node("MatMul", "a t"),
        ],
        ROW, PAIR_WEIGHTS,
    ),
    "conv": (
        [node("Conv", "x w b", pads=[1, 1, 1, 1])], IMAGE,
        {"w": models.normal(6, 4, 3, 3), "b": models.normal(6)},
    ),
    "conv-strided-dilated": (
        [node("Conv", "x w", strides=[2, 1], dilations=[1, 2], pads=[2, 0, 1, 3])], IMAGE,
        {"w": models.normal(6, 4, 3, 2)},
    ),
    "conv-depthwise": ([node("Conv", "x w", group=4)], IMAGE, {"w": models.normal(8, 1, 3, 3)}),
    "conv-same-upper": (
        [node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2])], IMAGE,
        {"w": models.normal(3, 4, 3, 4)},
    ),
    "conv-1d": ([node("Conv", "x w", pads=[2, 1])], LINE, {"w": models.normal(3, 4, 3)}),
    "conv-3d": (
        [node("Conv", "x w")], {"x": ["n", 2, 4, 5, 6]}, {"w": models.normal(3, 2, 2, 3, 2)}
    ),
    "conv-transpose": (
        [node("ConvTranspose", "x w b", strides=[2, 3], pads=[1, 0, 2, 1])], IMAGE,
        {"w": models.normal(4, 5, 3, 3), "b": models.normal(5)},
    ),
    "conv-transpose-grouped-dilated": (
        [node("ConvTranspose", "x w", group=2, dilations=[2, 1], output_padding=[0, 1],
              strides=[1, 2])],
        IMAGE, {"w": models.normal(4, 3, 2, 3)},
    ),
    "conv-transpose-output-shape": (
        [node("ConvTranspose", "x w", output_shape=[19, 14], strides=[2, 2])], IMAGE,
        {"w": models.normal(4, 2, 3, 3)},
    ),
    "conv-transpose-same-lower": (
        [node("ConvTranspose", "x w", auto_pad="SAME_LOWER", strides=[2, 2])], IMAGE,
        {"w": models.normal(4, 2, 3, 4)},
    ),
    "conv-transpose-1d": ([node("ConvTranspose", "x w", strides=[3])], LINE,
                          {"w": models.normal(4, 2, 4)}),
    "conv-transpose-inside": (
        [helper.make_node("ConvTranspose", ["x", "w"], ["c"], "up"), node("Relu", "c")],
        {"x": ["n", 2, 3, 2, 4]}, {"w": models.normal(2, 3, 2, 1, 3)},
    ),
    "average-pool": ([node("AveragePool", kernel_shape=[2, 3], strides=[2, 2])], IMAGE, {}),
    "average-pool-padded": (
        [node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)],
        IMAGE, {},
    ),
    "average-pool-excluding-pad": (
        [node("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 1, 2], count_include_pad=0)],
        IMAGE, {},
    ),
    "average-pool-ceil": (
        [node("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)], IMAGE, {},
    ),
    "average-pool-ceil-padded": (
        [node("AveragePool", kernel_shape=[3, 3], strides=[2, 3], pads=[1, 1, 1, 1], ceil_mode=1,
              count_include_pad=1)], IMAGE, {},
    ),
    "max-pool": ([node("MaxPool", kernel_shape=[2, 3], strides=[2, 1])], IMAGE, {}),
    "max-pool-ceil": (
        [node("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)], IMAGE, {},
    ),
    "global-average-pool": ([node("GlobalAveragePool")], IMAGE, {}),
    "reduce-sum": ([node("ReduceSum", "x axes", keepdims=0)], IMAGE, {"axes": np.array([1, -1])}),
    "reduce-mean": ([node("ReduceMean", "x axes")], IMAGE, {"axes": np.array([2, 3])}),
    "add": pair("Add"),
    "sub": pair("Sub"),
    "mul": pair("Mul"),
    "mul-inside": (
        [*PAIR, helper.make_node("Mul", ["a", "b"], ["m"], "product"), node("Identity", "m")],
        ROW, PAIR_WEIGHTS,
    ),
    "div": (
        [
            *PAIR,
            helper.make_node("Sigmoid", ["b"], ["e"], "squash"),
            helper.make_node("Add", ["e", "one"], ["f"], "shift"),
            node("Div", "a f"),
        ],
        ROW, {**PAIR_WEIGHTS, "one": np.float32(1)},
    ),
    "concat": ([*PAIR, node("Concat", "a b", axis=1)], ROW, PAIR_WEIGHTS),
    "flatten": ([node("Flatten")], IMAGE, {}),
    "pad": (
        [node("Pad", "x p v")], IMAGE,
        {"p": np.array([0, 0, 1, 2, 0, 0, 2, 0]), "v": np.float32(0.5)},
    ),
    "reshape": ([node("Reshape", "x s")], IMAGE, {"s": np.array([0, 4, -1])}),
    "transpose": ([node("Transpose", perm=[0, 3, 1, 2])], IMAGE, {}),
    "relu": ([node("Relu")], ROW, {}),
    "sigmoid": ([node("Sigmoid")], ROW, {}),
    "add-constant": ([node("Add", "x c")], ROW, {"c": models.normal(6)}),
    "clip": ([node("Clip", "x lo hi")], ROW, {"lo": np.float32(-0.5), "hi": np.float32(1.0)}),
    "softmax": ([node("Softmax")], ROW, {}),
    "layer-normalization": (
        [node("LayerNormalization", "x g c")], ROW, {"g": models.normal(6), "c": models.normal(6)}
    ),
    "batch-normalization": (
        [node("BatchNormalization", "x s b m v")], IMAGE,
        {"s": models.normal(4), "b": models.normal(4), "m": models.normal(4),
         "v": np.abs(models.normal(4)) + 0.5},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_fine_grid_approaches_the_float_result(case: str) -> None:
    nodes, inputs, constants = CASES[case]
    model = models.build(nodes, inputs=inputs, outputs=["y"], constants=constants)
    shape = [32, *(int(size) for size in inputs["x"][1:])]
    x = models.normal(*shape, seed=11)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    graph = ql.load_model(model)
    module = ql.PostTrainingAffineQuantization(14, graph).quantize_module(x)
    result = module.forward(x)
    assert np.shape(result) == expected.shape
    # BatchNormalization's range leaves out 0.1 % of values on each side.
    kept = np.abs(result - expected) <= 2e-3 * np.ptp(expected) + 1e-6
    assert np.mean(kept) >= (0.997 if case == "batch-normalization" else 1.0)


def test_every_integer_operator_is_checked() -> None:
    checked = {n.op_type for nodes, *_ in CASES.values() for n in nodes}
    registered = {
        name for name, cls in ql.ONNX_OPS_TO_QUANTIZED_IMPL.items() if issubclass(cls, MixingOp)
    }
    assert registered - checked == {"Unfold"}, "ONNX Runtime has no Unfold; test_unfold checks it"


@pytest.mark.parametrize(
    ("case", "treatment"),
    [
        ("add", Treatment.INTEGER),
        ("add-constant", Treatment.LOOKUP),
        ("flatten", Treatment.MOVER),
        ("softmax", Treatment.FLOAT),
        ("matmul-of-two", Treatment.INTEGER),
    ],
)
def test_treatments_follow_the_rules(case: str, treatment: Treatment) -> None:
    nodes, inputs, constants = CASES[case]
    graph = ql.load_model(models.build(nodes, inputs=inputs, outputs=["y"], constants=constants))
    shape = [8, *(int(size) for size in inputs["x"][1:])]
    module = ql.PostTrainingAffineQuantization(4, graph).quantize_module(models.normal(*shape))
    assert module.layers[-1].treatment is treatment


@pytest.mark.parametrize("opset", [7, 11, 13, 21])
def test_softmax_keeps_the_meaning_of_its_operator_set(opset: int) -> None:
    """Before 13 it flattens all axes from 1 on."""
    model = models.build(
        [node("Softmax")], inputs={"x": ["n", 5, 1, 1]}, outputs=["y"], opset=opset
    )
    x = models.normal(6, 5, 1, 1)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    module = ql.PostTrainingAffineQuantization(12, model).quantize_module(x)
    assert np.abs(np.asarray(module.forward(x)) - expected).max() < 2e-3
