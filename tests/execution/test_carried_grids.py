"""Models that bring their own grids: QDQ, QONNX and Brevitas."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import quantlib as ql
from quantlib.core.tensor import Tensor
from quantlib.data import load_data
from quantlib.graph.runtime import open_session
from tests.models import build, normal
from tests.paths import ROOT

BREVITAS = ROOT / "tests" / "golden" / "brevitas"
BASE = ql.QuantizationConfig.from_n_bits(3)


@pytest.mark.parametrize("name", ["qat_mlp", "qat_cnn", "qat_res"])
def test_integers_of_a_brevitas_model_are_those_of_concrete_ml(name: str) -> None:
    golden = np.load(BREVITAS / f"{name}.npz")
    graph = ql.load_model(BREVITAS / f"{name}.onnx")
    widths = {"model_inputs": 6, "op_inputs": 6, "op_weights": 3, "model_outputs": 6}
    module = ql.quantize(graph, golden["x"], ql.QuantizationConfig.from_n_bits(widths))
    codes = np.asarray(module.quantize_input(golden["x"]))
    assert np.array_equal(codes, golden["qx"])
    outputs = np.asarray(module.quantized_forward(codes))
    assert np.array_equal(outputs, golden["qy"])
    assert np.array_equal(np.asarray(module.dequantize_output(outputs)), golden["y"])
    _, trace = module.forward(golden["x"], debug=True)
    accumulators = [key for key in golden if key.startswith("acc.")]
    assert len(accumulators) == 2
    for key in accumulators:
        assert np.array_equal(trace[key.removeprefix("acc.")]["output"], golden[key])


def qdq_model(name: str, **options: Any) -> tuple[ql.Graph, Any, bytes]:
    """Quantize a sample by ONNX Runtime's own tool."""
    from onnxruntime import quantization as ort_quantization

    logging.getLogger().setLevel(logging.ERROR)
    source = ROOT / "sample_models" / f"{name}.onnx"
    graph = ql.load_model(source)
    data = load_data(source.with_suffix(".npz").read_bytes(), graph, name=name)

    class Reader(ort_quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter([{graph.inputs[0].name: data.calibration[0]}])

        def get_next(self) -> Any:
            return next(self.batches, None)

    model = onnx.version_converter.convert_version(onnx.load(source), 21)
    output = options.pop("folder") / "qdq.onnx"
    ort_quantization.quantize_static(
        model, output, Reader(), quant_format=ort_quantization.QuantFormat.QDQ, **options
    )
    content = output.read_bytes()
    return ql.load_model(content), data, content


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True], ids=["per-tensor", "per-channel"])
@pytest.mark.parametrize(
    ("weights", "activations", "bits"),
    [("QInt8", "QUInt8", (8, 8)), ("QInt8", "QInt8", (8, 8)), ("QInt4", "QUInt16", (4, 16)),
     ("QInt16", "QInt16", (16, 16)), ("QUInt8", "QUInt8", (8, 8))],
)  # fmt: skip
@pytest.mark.parametrize("name", ["digits_cnn", "digits_mlp"])
def test_a_qdq_model_runs_on_its_own_grids_as_in_onnx_runtime(
    name: str, weights: str, activations: str, bits: tuple[int, int], per_channel: bool,
    tmp_path: Path,
) -> None:  # fmt: skip
    from onnxruntime.quantization import QuantType

    graph, data, content = qdq_model(
        name, folder=tmp_path, per_channel=per_channel,
        weight_type=QuantType[weights], activation_type=QuantType[activations],
    )  # fmt: skip
    module = ql.quantize(graph, data.calibration, BASE)
    expected = open_session(content).run(None, {graph.inputs[0].name: data.evaluation[0]})[0]
    actual: Any = module.forward(*data.evaluation)
    step = float(np.ptp(expected)) / 2 ** bits[1]
    difference = np.abs(actual - expected)
    assert difference.max() <= 4 * step + 1e-6
    # float32 decides near-ties by its last bit; averages of 4 codes are exact ties in 1 of 4
    near = 1.5 if name == "digits_cnn" else 0.5
    assert np.mean(difference > near * step + 1e-6) < 0.02
    products = [p for p in module.layers if isinstance(p.constants.get(1), Tensor)]
    assert products
    for layer in products:
        weight = layer.constants[1]
        assert isinstance(weight, Tensor)
        assert (weight.n_bits, layer.operand_grid and layer.operand_grid.n_bits) == bits
        several = np.size(weight.quantizer.scale) > 1
        assert several == per_channel


@pytest.mark.parametrize("kind", ["INT2", "UINT2", "INT4", "UINT4", "INT8", "UINT8", "INT16",
                                  "UINT16"])  # fmt: skip
def test_every_integer_type_keeps_its_grid_and_rounds_as_onnx_says(kind: str) -> None:
    zero = 1
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "dq"),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["wd"], "dw"),
        helper.make_node("MatMul", ["d", "wd"], ["y"], "mm"),
    ]
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], opset=25, constants={})
    model.ir_version = 13
    data_type = TensorProto.DataType.Value(kind)
    codes = np.random.default_rng(3).integers(0, 2, size=(6, 4))
    model.graph.initializer.extend([
        helper.make_tensor("s", TensorProto.FLOAT, [], [0.25]),
        helper.make_tensor("sw", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("z", data_type, [], [zero]),
        helper.make_tensor("w", data_type, codes.shape, codes.ravel().tolist()),
    ])  # fmt: skip
    graph = ql.load_model(model)
    x = (np.arange(-300, 300).reshape(-1, 6) * 0.125).astype(np.float32)  # every tie
    module = ql.quantize(graph, x, BASE)
    expected = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    assert np.array_equal(module.forward(x), expected)
    grid = module.inputs[0]
    assert grid is not None
    assert (grid.n_bits, grid.is_signed) == (int(kind.lstrip("UINT")), kind.startswith("I"))
    assert np.array_equal(
        np.asarray(module.dequantize_output(module.quantized_forward(np.asarray(
            module.quantize_input(x))))), expected  # type: ignore[arg-type]
    )  # fmt: skip


def quant_node(op_type: str, inputs: list[str], domain: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs, ["y"], "quantizer", domain=domain, **attributes)


def quantizer_model(
    node: onnx.NodeProto, constants: dict[str, Any], opset: int = 14
) -> onnx.ModelProto:
    domains = [(node.domain, 1)] if node.domain else []
    return build(
        [node], inputs={"x": ["n"]}, outputs=["y"], opset=opset, domains=domains,
        constants={k: np.float32(v) for k, v in constants.items()},
    )  # fmt: skip


TABLE = np.array([5.5, 2.5, 1.6, 1.1, 1.0, -1.0, -1.1, -1.6, -2.5, -5.5], dtype=np.float32)
ROUNDED = {
    "ROUND": [6, 2, 2, 1, 1, -1, -1, -2, -2, -6],
    "CEIL": [6, 3, 2, 2, 1, -1, -1, -1, -2, -5],
    "FLOOR": [5, 2, 1, 1, 1, -1, -2, -2, -3, -6],
    "UP": [6, 3, 2, 2, 1, -1, -2, -2, -3, -6],
    "DOWN": [5, 2, 1, 1, 1, -1, -1, -1, -2, -5],
    "HALF_UP": [6, 3, 2, 1, 1, -1, -1, -2, -3, -6],
    "HALF_DOWN": [5, 2, 2, 1, 1, -1, -1, -2, -2, -5],
}
"""The specification's own table of rounding modes."""


@pytest.mark.parametrize("domain", ["qonnx.custom_op.general", "onnx.brevitas", ""])
@pytest.mark.parametrize("mode", list(ROUNDED))
@pytest.mark.parametrize("op_type", ["Quant", "IntQuant"])
def test_rounding_modes_are_those_of_the_specification(
    op_type: str, mode: str, domain: str
) -> None:
    node = quant_node(op_type, ["x", "s", "z", "b"], domain, signed=1, narrow=0,
                      rounding_mode=mode.lower() if domain else mode)  # fmt: skip
    graph = ql.load_model(quantizer_model(node, {"s": 1, "z": 0, "b": 8}))
    module = ql.quantize(graph, TABLE, BASE)
    assert np.asarray(module.forward(TABLE)).tolist() == ROUNDED[mode]
    in_float = open_session(graph.source).run(None, {"x": TABLE})[0]
    assert in_float.tolist() == ROUNDED[mode]


@pytest.mark.parametrize(
    ("signed", "narrow", "low", "high"),
    [(1, 0, -4, 3), (1, 1, -3, 3), (0, 0, 0, 7), (0, 1, 0, 6)],
)
def test_codes_saturate_where_the_specification_says(
    signed: int, narrow: int, low: int, high: int
) -> None:
    node = quant_node("Quant", ["x", "s", "z", "b"], "qonnx.custom_op.general", signed=signed,
                      narrow=narrow, rounding_mode="ROUND")  # fmt: skip
    graph = ql.load_model(quantizer_model(node, {"s": 0.5, "z": 1, "b": 3}))
    x = np.array([-100, 100, 0.0], dtype=np.float32)
    expected = [(low - 1) * 0.5, (high - 1) * 0.5, 0.0]
    module = ql.quantize(graph, x, BASE)
    assert np.asarray(module.forward(x)).tolist() == expected
    assert open_session(graph.source).run(None, {"x": x})[0].tolist() == expected
    assert module.inputs[0] is not None
    assert (module.inputs[0].qmin, module.inputs[0].qmax) == (low, high)


def test_bipolar_codes_are_minus_one_and_one_and_take_one_bit() -> None:
    node = quant_node("BipolarQuant", ["x", "s"], "qonnx.custom_op.general")
    graph = ql.load_model(quantizer_model(node, {"s": 0.5}))
    x = np.array([-3, -1e-3, 0, 1e-3, 9], dtype=np.float32)
    module = ql.quantize(graph, x, BASE)
    assert np.asarray(module.forward(x)).tolist() == [-0.5, -0.5, 0.5, 0.5, 0.5]
    assert np.asarray(module.quantize_input(x)).tolist() == [-1, -1, 1, 1, 1]
    assert open_session(graph.source).run(None, {"x": x})[0].tolist() == [-0.5, -0.5, 0.5, 0.5, 0.5]
    assert module.inputs[0] is not None
    assert module.inputs[0].n_bits == 1


@pytest.mark.parametrize("mode", ["ROUND", "FLOOR", "CEIL"])
@pytest.mark.parametrize("version", [1, 2])
def test_truncation_is_that_of_the_specification(version: int, mode: str) -> None:
    domain = "qonnx.custom_op.general"
    inputs = ["q", "s", "z", "b", "o"] if version == 1 else ["q", "s", "z", "b", "t", "o"]
    nodes = [
        helper.make_node("Quant", ["x", "s", "z", "b"], ["q"], "q", domain=domain),
        quant_node("Trunc", inputs, domain, rounding_mode=mode),
    ]
    numbers = {"s": 0.5, "z": 0, "b": 7, "t": 2.0, "o": 5 if version == 1 else 4}
    model = build(
        nodes, inputs={"x": ["n"]}, outputs=["y"], opset=14, domains=[(domain, version)],
        constants={k: np.float32(v) for k, v in numbers.items()},
    )  # fmt: skip
    x = np.arange(-40, 41, dtype=np.float32) * 0.5
    graph = ql.load_model(model)
    rounded = {"ROUND": np.rint, "FLOOR": np.floor, "CEIL": np.ceil}[mode]
    codes = np.rint(x / 0.5) / 4
    expected = rounded(codes) * 0.5 if version == 1 else rounded(np.clip(codes, -8, 7)) * 2.0
    assert np.array_equal(ql.quantize(graph, x, BASE).forward(x), expected)
    assert np.array_equal(open_session(graph.source).run(None, {"x": x})[0], expected)


@pytest.mark.parametrize(
    ("constants", "attributes", "message"),
    [
        ({"s": 0.0, "z": 0, "b": 4}, {}, "its scale is"),
        ({"s": 1.0, "z": 0.5, "b": 4}, {}, "no integer"),
        ({"s": 1.0, "z": 0, "b": 3.5}, {}, "not one integer"),
        ({"s": 1.0, "z": 0, "b": 40}, {}, "1 to 32"),
        ({"s": 1.0, "z": 0, "b": 4}, {"rounding_mode": "LUCK"}, "LUCK"),
    ],
)
def test_a_grid_that_cannot_be_names_its_node(
    constants: dict[str, float], attributes: dict[str, Any], message: str
) -> None:
    node = quant_node("Quant", ["x", "s", "z", "b"], "onnx.brevitas", **attributes)
    with pytest.raises(ql.UnsupportedOpError, match=f"'quantizer'.*{message}"):
        ql.load_model(quantizer_model(node, constants))


def test_a_scale_that_depends_on_data_names_its_node() -> None:
    node = quant_node("Quant", ["x", "x", "z", "b"], "onnx.brevitas")
    with pytest.raises(ql.UnsupportedOpError, match=r"'quantizer'.*computed from the data"):
        ql.load_model(quantizer_model(node, {"z": 0, "b": 4}))


def test_an_operator_set_without_where_is_refused_with_a_remedy() -> None:
    node = quant_node("Quant", ["x", "s", "z", "b"], "onnx.brevitas")
    with pytest.raises(ql.UnsupportedOpError, match="operator set 9 or newer"):
        ql.load_model(quantizer_model(node, {"s": 1, "z": 0, "b": 4}, opset=8))


def test_weights_keep_their_grid_through_a_transpose() -> None:
    weights = np.random.default_rng(0).integers(-4, 4, size=(5, 6)).astype(np.int8)
    scales = np.array([0.1, 0.2, 0.3, 0.4, 0.5], dtype=np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["wd"], "dw", axis=0),
        helper.make_node("Transpose", ["wd"], ["wt"], "t", perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["y"], "mm"),
    ]
    model = build(
        nodes, inputs={"x": ["n", 6]}, outputs=["y"], constants={"w": weights, "s": scales}
    )
    config = BASE.replace(quantize_rest=True)
    module = ql.quantize(ql.load_model(model), normal(50, 6), config)
    weight = module.layers[0].constants[1]
    assert isinstance(weight, Tensor)
    assert np.array_equal(weight.codes, weights.T)
    assert np.allclose(np.ravel(weight.quantizer.scale), scales)


def test_max_pool_and_concat_leave_codes_on_their_own_grid() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "dq"),
        helper.make_node("MaxPool", ["d"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Concat", ["p", "p"], ["c"], "cat", axis=1),
        helper.make_node("Conv", ["c", "w"], ["y"], "conv"),
    ]
    model = build(nodes, inputs={"x": ["n", 1, 4, 4]}, outputs=["y"], constants={
        "s": np.float32(0.1), "z": np.uint8(7), "w": normal(3, 2, 1, 1)})  # fmt: skip
    x = normal(30, 1, 4, 4)
    module = ql.quantize(ql.load_model(model), x, BASE.replace(quantize_rest=True))
    conv = module.layers[-1]
    assert conv.operand_grid is not None
    assert (conv.operand_grid.scale, conv.operand_grid.zero_point) == (np.float32(0.1), 7)


def test_preflight_says_which_widths_a_model_brings() -> None:
    found = ql.inspect_model(ql.load_model(BREVITAS / "qat_mlp.onnx"))
    assert {n.name: n.carried_bits for n in found.carried} == {"qi": 6, "g1": 3, "qa": 4, "g2": 3}
    assert not found.refused
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "s"], ["y"], "dq"),
    ]
    model = build(nodes, inputs={"x": ["n"]}, outputs=["y"], constants={"s": np.float32(1)})
    (pair,) = ql.inspect_model(ql.load_model(model)).nodes
    assert (pair.carried_bits, "Brevitas" in pair.refusal) == (8, True)
