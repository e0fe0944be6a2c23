"""Operators on integers: equal to ONNX Runtime, with accumulators and sizes of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.workbench import Workbench
from quantlib.data import Dataset
from quantlib.graph.runtime import open_session
from tests.models import build, normal

RNG = np.random.default_rng(11)
U8, I8 = np.uint8, np.int8


def scalar(value: float) -> Any:
    return np.float32(value)


def codes(*shape: int, kind: Any = I8, seed: int = 0) -> Any:
    info, rng = np.iinfo(kind), np.random.default_rng(seed)
    return rng.integers(info.min, info.max, shape, endpoint=True).astype(kind)


def quantized(name: str, *inputs: str, op: str, domain: str = "", **attributes: Any) -> Any:
    return helper.make_node(op, list(inputs), [name], name, domain=domain, **attributes)


ENTER = [helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["q"], "enter")]
LEAVE = [helper.make_node("DequantizeLinear", ["p", "sy", "zy"], ["y"], "leave")]
Shape = list[int | str]
IMAGE: Shape = ["n", 4, 6, 6]
VECTOR: Shape = ["n", 12]
GRIDS = {"sx": scalar(0.02), "zx": U8(120), "sy": scalar(0.1), "zy": U8(100)}
MS = "com.microsoft"


def two(op: str) -> list[onnx.NodeProto]:
    other = helper.make_node("QuantizeLinear", ["x2", "sb", "zb"], ["b"], "other")
    return [other, quantized("p", "q", "sx", "zx", "b", "sb", "zb", "sy", "zy", op=op, domain=MS)]


def one(op: str, **attributes: Any) -> list[onnx.NodeProto]:
    return [quantized("p", "q", "sx", "zx", "sy", "zy", op=op, domain=MS, **attributes)]


OTHER = {"sb": scalar(0.033), "zb": U8(90)}
CASES: dict[str, tuple[Shape, list[onnx.NodeProto], dict[str, Any]]] = {
    "QLinearConv": (
        IMAGE,
        [quantized("p", "q", "sx", "zx", "w", "sw", "zw", "sy", "zy", "b", op="QLinearConv",
                   pads=[1, 1, 1, 1], strides=[2, 2])],
        {"w": codes(5, 4, 3, 3), "sw": np.full(5, 0.01, np.float32), "zw": np.zeros(5, I8),
         "b": RNG.integers(-900, 900, 5).astype(np.int32)},
    ),
    "QLinearConv-grouped": (
        IMAGE,
        [quantized("p", "q", "sx", "zx", "w", "sw", "zw", "sy", "zy", op="QLinearConv", group=2)],
        {"w": codes(6, 2, 3, 3, kind=U8), "sw": scalar(0.004), "zw": U8(128)},
    ),
    "QLinearMatMul": (
        VECTOR,
        [quantized("p", "q", "sx", "zx", "w", "sw", "zw", "sy", "zy", op="QLinearMatMul")],
        {"w": codes(12, 5), "sw": scalar(0.01), "zw": I8(3)},
    ),
    "QLinearMatMul-per-column": (
        VECTOR,
        [quantized("p", "q", "sx", "zx", "w", "sw", "zw", "sy", "zy", op="QLinearMatMul")],
        {"w": codes(12, 3), "sw": np.array([0.01, 0.02, 0.005], np.float32),
         "zw": np.zeros(3, I8)},
    ),
    "QGemm": (
        VECTOR,
        [quantized("p", "q", "sx", "zx", "w", "sw", "zw", "b", "sy", "zy", op="QGemm", domain=MS,
                   transB=1)],
        {"w": codes(5, 12), "sw": scalar(0.01), "zw": I8(0),
         "b": RNG.integers(-900, 900, 5).astype(np.int32)},
    ),
    "QLinearAdd": (VECTOR, two("QLinearAdd"), OTHER),
    "QLinearMul": (VECTOR, two("QLinearMul"), OTHER),
    "QLinearGlobalAveragePool": (IMAGE, one("QLinearGlobalAveragePool"), {}),
    "QLinearAveragePool": (
        IMAGE, one("QLinearAveragePool", kernel_shape=[2, 2], strides=[2, 2]), {},
    ),
    "QLinearSigmoid": (VECTOR, one("QLinearSigmoid"), {"sy": scalar(1 / 256), "zy": U8(0)}),
    "QLinearLeakyRelu": (VECTOR, one("QLinearLeakyRelu", alpha=0.1), {}),
    "QLinearSoftmax": (
        VECTOR, one("QLinearSoftmax", axis=1, opset=13), {"sy": scalar(1 / 256), "zy": U8(0)},
    ),
    "QLinearConcat": (
        VECTOR,
        [quantized("p", "sy", "zy", "q", "sx", "zx", "q", "sx", "zx", op="QLinearConcat",
                   domain=MS, axis=1)],
        {},
    ),
}  # fmt: skip

PRODUCTS = {"QLinearConv", "QLinearConv-grouped", "QLinearMatMul", "QLinearMatMul-per-column",
            "QGemm", "QLinearMul", "QLinearGlobalAveragePool", "QLinearAveragePool"}  # fmt: skip


def inputs_of(case: str) -> list[str]:
    return ["x", "x2"] if case in ("QLinearAdd", "QLinearMul") else ["x"]


def model_of(case: str) -> onnx.ModelProto:
    shape, nodes, constants = CASES[case]
    return build(
        [*ENTER, *nodes, *LEAVE], inputs=dict.fromkeys(inputs_of(case), shape), outputs=["y"],
        constants={**GRIDS, **constants}, opset=17, domains=[(MS, 1)],
    )  # fmt: skip


@pytest.mark.parametrize("bits", [3, 8])
@pytest.mark.parametrize("case", CASES)
def test_an_operator_on_integers_equals_onnx_runtime(case: str, bits: int) -> None:
    model = model_of(case)
    sizes = [int(size) for size in CASES[case][0][1:]]
    data = {name: normal(40, *sizes, seed=i) for i, name in enumerate(inputs_of(case))}
    expected = open_session(model.SerializeToString()).run(None, data)[0]
    x = tuple(data.values())
    module = ql.quantize(ql.load_model(model), x, ql.QuantizationConfig.from_n_bits(bits))
    actual: Any = module.forward(*x)
    step = float({**GRIDS, **CASES[case][2]}["sy"])
    steps = np.abs(actual - expected) / step
    # float32 decides ties by its last bit; means of four codes on this grid are ties in 1 of 20
    assert steps.max() <= 1 + 1e-3
    assert np.mean(steps > 0.5) < (0.05 if case == "QLinearAveragePool" else 0.02)
    assert ("accumulated" if case in PRODUCTS else "") == (
        "accumulated" if module.bitwidth_and_range_report() else ""
    )


def test_the_accumulator_of_an_integer_product_is_the_integer_product() -> None:
    model = model_of("QLinearMatMul")
    x = normal(30, 12)
    constants = {**GRIDS, **CASES["QLinearMatMul"][2]}
    module = ql.quantize(ql.load_model(model), x, ql.QuantizationConfig.from_n_bits(5))
    _, trace = module.forward(x, debug=True)
    q = np.clip(np.rint(x / constants["sx"]) + 120, 0, 255).astype(np.int64)
    assert np.array_equal(trace["p"]["output"], q @ (constants["w"].astype(np.int64) - 3))


def test_weights_of_an_integer_product_count_at_their_width() -> None:
    graph = ql.load_model(model_of("QGemm"))
    x = normal(30, 12)
    data = Dataset("made", (x,), (x,), None, (), "d")
    config = ql.QuantizationConfig.from_n_bits(3).replace(limit_bits=12)
    found = evaluate(Workbench(graph, data), config)
    assert found.weight_bytes == 5 * 12 + 5 * 4
    assert found.unseen == ()
    assert found.fits is False


@pytest.mark.parametrize("rows", [1, 7])
def test_dynamic_quantization_follows_the_range_of_each_call(rows: int) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "dynamic"),
        helper.make_node("MatMulInteger", ["q", "w", "z", "zw"], ["a"], "product"),
        helper.make_node("Cast", ["a"], ["f"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "sw"], ["m"], "scales"),
        helper.make_node("Mul", ["f", "m"], ["y"], "scaled"),
    ]
    model = build(nodes, inputs={"x": ["n", 12]}, outputs=["y"], opset=17,
                  constants={"w": codes(12, 5), "zw": I8(0), "sw": scalar(0.01)})  # fmt: skip
    graph = ql.load_model(model)
    x = normal(rows, 12)
    module = ql.quantize(graph, normal(20, 12, seed=3), ql.QuantizationConfig.from_n_bits(3))
    expected = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    actual: Any = module.forward(x)
    assert np.allclose(actual, expected, rtol=1e-5, atol=1e-5)
    _, trace = module.forward(x, debug=True)
    q = _dynamic_codes(x)
    assert np.array_equal(trace["product"]["output"], q @ codes(12, 5).astype(np.int64))
    assert graph.batch.mixes  # one range for all rows


def _dynamic_codes(x: Any) -> Any:
    """Return codes as the definition of DynamicQuantizeLinear says."""
    low, high = np.float32(min(x.min(), 0)), np.float32(max(x.max(), 0))
    s = np.float32((high - low) / np.float32(255))
    z = int(np.rint(np.clip(-low / s, 0, 255)))
    return np.clip(np.rint(x / s) + z, 0, 255).astype(np.int64)


@pytest.mark.parametrize("bias", [False, True])
def test_fused_dynamic_products_equal_onnx_runtime(bias: bool) -> None:
    inputs = ["x", "w", "sw", "zw", *(["b"] if bias else [])]
    nodes = [helper.make_node("DynamicQuantizeMatMul", inputs, ["y"], "fused", domain=MS)]
    constants = {"w": codes(12, 5), "sw": scalar(0.01), "zw": I8(0), "b": normal(5)}
    model = build(nodes, inputs={"x": ["n", 12]}, outputs=["y"], opset=17, domains=[(MS, 1)],
                  constants={k: v for k, v in constants.items() if bias or k != "b"})  # fmt: skip
    x = normal(20, 12)
    module = ql.quantize(ql.load_model(model), x, ql.QuantizationConfig.from_n_bits(3))
    expected = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    assert np.allclose(np.asarray(module.forward(x)), expected, rtol=1e-5, atol=1e-5)
    assert module.bitwidth_and_range_report()


def test_an_integer_convolution_of_given_codes_has_its_accumulator() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["q"], "enter"),
        helper.make_node("ConvInteger", ["q", "w", "zx", "zw"], ["a"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Cast", ["a"], ["f"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "m"], ["y"], "scaled"),
    ]
    model = build(nodes, inputs={"x": IMAGE}, outputs=["y"], opset=17,
                  constants={"sx": scalar(0.02), "zx": U8(120), "w": codes(3, 4, 3, 3, kind=U8),
                             "zw": U8(120), "m": scalar(0.02 * 0.01)})  # fmt: skip
    x = normal(9, 4, 6, 6)
    module = ql.quantize(ql.load_model(model), x, ql.QuantizationConfig.from_n_bits(3))
    expected = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    assert np.allclose(np.asarray(module.forward(x)), expected, rtol=1e-5, atol=1e-4)
    assert module.bitwidth_and_range_report()["conv"]["bitwidth"] > 12


UNSEEN = {
    "LSTM": (
        [helper.make_node("LSTM", ["x3", "W", "R"], ["h"], "rnn", hidden_size=4),
         helper.make_node("Reshape", ["h", "flat"], ["y"], "out")],
        {"W": normal(1, 16, 3), "R": normal(1, 16, 4), "flat": np.array([0, -1])},
    ),
    "Einsum": ([helper.make_node("Einsum", ["x3", "E"], ["y"], "einsum", equation="abc,cd->abd")],
               {"E": normal(3, 5)}),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSEEN)
def test_products_that_nobody_looks_into_are_named_and_confirm_no_limit(case: str) -> None:
    nodes, constants = UNSEEN[case]
    model = build(nodes, inputs={"x3": [6, 1, 3]}, outputs=["y"], opset=17, constants=constants)
    graph = ql.load_model(model)
    name = nodes[0].name
    assert [node.name for node in ql.inspect_model(graph).unseen] == [name]
    x = normal(6, 1, 3)
    config = ql.QuantizationConfig.from_n_bits(8)
    data = Dataset("made", (x,), (x,), None, (), "d")
    found = evaluate(Workbench(graph, data), config)
    assert found.unseen == (name,)
    assert found.fits is None
    budget = bit_width_budget(ql.quantize(graph, x, config))
    assert budget.unseen == (name,)
    assert budget.fits is None


def test_bodies_are_looked_through_for_products() -> None:
    def body(*nodes: onnx.NodeProto) -> onnx.GraphProto:
        out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
        return helper.make_graph(list(nodes), "body", [], [out])

    plain = body(helper.make_node("Relu", ["x"], ["o"]))
    product = body(helper.make_node("MatMul", ["x", "w"], ["o"]))
    for other, unseen in ((plain, []), (product, ["branch"])):
        nodes = [
            helper.make_node("ReduceSum", ["x"], ["t"], "sum", keepdims=0),
            helper.make_node("Greater", ["t", "zero"], ["c"], "positive"),
            helper.make_node("If", ["c"], ["y"], "branch", then_branch=plain, else_branch=other),
        ]
        model = build(nodes, inputs={"x": ["n", 3]}, outputs=["y"], opset=17,
                      constants={"zero": scalar(0.0), "w": normal(3, 3)})  # fmt: skip
        found = ql.inspect_model(ql.load_model(model))
        assert [node.name for node in found.unseen] == unseen
