from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.execution import float_run
from tests import models

GRAPH = ql.load_model(models.mlp())
X = models.normal(50, 6, seed=5)
MODULE = ql.PostTrainingAffineQuantization(6, GRAPH).quantize_module(X)


def test_forward_is_the_three_steps() -> None:
    codes = MODULE.quantize_input(X)
    outputs = MODULE.quantized_forward(codes)  # type: ignore[arg-type]
    real = MODULE.dequantize_output(outputs)  # type: ignore[arg-type]
    assert np.array_equal(MODULE(X), real)
    assert isinstance(codes, np.ndarray)
    assert isinstance(outputs, np.ndarray)
    assert codes.dtype == outputs.dtype == np.dtype(np.int64)


def test_the_trace_holds_quantized_inputs_and_accumulators() -> None:
    _, trace = MODULE.forward(X, debug=True)
    assert list(trace) == ["g1", "act", "g2"]
    first = trace["g1"]
    x, w = first[0], first[1]
    assert isinstance(x, ql.QuantizedArray)
    centred = w.qvalues.T - w.quantizer.zero_point
    assert np.array_equal(first["output"], x.qvalues @ centred)
    assert first["output"].dtype == np.int64
    assert "output" not in trace["act"]


def test_the_report_covers_calibration_data_unless_others_are_given() -> None:
    report = MODULE.bitwidth_and_range_report()
    assert report == MODULE.bitwidth_and_range_report(X)
    assert set(report) == {"g1", "g2"}
    smaller = MODULE.bitwidth_and_range_report(X[:1])
    assert smaller["g1"]["bitwidth"] <= report["g1"]["bitwidth"]


def test_more_bits_mean_less_error() -> None:
    (expected,) = float_run.float_tensors(GRAPH, (X,), tensors=["y"]).values()
    outputs = [
        ql.PostTrainingAffineQuantization(n, GRAPH).quantize_module(X)(X) for n in (3, 6, 9, 12)
    ]
    errors = [float(np.abs(output - expected).max()) for output in outputs]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 2e-3 * np.ptp(expected)


def test_batches_give_what_the_whole_gives() -> None:
    many = np.concatenate([X] * 12)
    whole = float_run.float_tensors(GRAPH, (many,), tensors=["h", "y"])
    parts = list(float_run.float_batches(GRAPH, (many,), tensors=["h", "y"]))
    assert len(parts) > 1
    assert np.array_equal(np.concatenate([part["h"] for part in parts]), whole["h"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X[:, :5], "50 x 5; the model wants N x 6"),
        (X[0], "batch axis is missing"),
        (X[:0], "no samples"),
        (np.where(X > 1, np.nan, X), "NaN"),
        (X.astype(str), "give numbers"),
    ],
)
def test_calibration_data_that_do_not_fit_are_refused(data: Any, message: str) -> None:
    with pytest.raises(ql.TensorError, match=message):
        ql.PostTrainingAffineQuantization(4, GRAPH).quantize_module(data)


def test_the_number_of_arrays_must_be_that_of_the_inputs() -> None:
    with pytest.raises(ql.TensorError, match="2 arrays, the model has 1 inputs"):
        ql.PostTrainingAffineQuantization(4, GRAPH).quantize_module(X, X)
    with pytest.raises(ql.TensorError, match="quantize_input makes them"):
        MODULE.quantized_forward(X)


def test_chosen_signs_are_used_and_named_in_the_layers() -> None:
    config = ql.QuantizationConfig.from_n_bits(5).replace(
        weights=ql.Scheme(5, signed=False), activations=ql.Scheme(5, symmetric=True)
    )
    module = ql.quantize(GRAPH, X, config)
    layer = module.layers[2]
    weight = layer.constants[1]
    assert not isinstance(weight, np.ndarray)
    assert not weight.quantizer.is_signed
    assert weight.quantizer.zero_point != 0
    (grid,) = layer.input_grids
    assert grid.is_symmetric
    assert grid.zero_point == 0
    assert not config.is_reference
    (expected,) = float_run.float_tensors(GRAPH, (X,), tensors=["y"]).values()
    assert np.abs(module(X) - expected).max() < 0.2 * np.ptp(expected)


def test_an_option_a_layer_cannot_take_names_the_layer() -> None:
    config = ql.QuantizationConfig.from_n_bits({"op_weights": 1, "op_inputs": 4})
    with pytest.raises(ql.OptionsError, match="layer 'g"):
        ql.quantize(GRAPH, X, config)


def test_a_node_that_fails_is_named() -> None:
    nodes = [helper.make_node("Pow", ["x", "half"], ["y"], "bad_root")]
    model = models.build(
        nodes, inputs={"x": ["n", 2]}, outputs=["y"], constants={"half": np.float32(0.5)}
    )
    graph = ql.load_model(model)
    with pytest.raises(ql.TensorError, match=r"'bad_root' \(Pow\).*NaN"):
        ql.quantize(graph, np.array([[-1.0, 2.0]]), ql.QuantizationConfig.from_n_bits(4))


def test_several_outputs_and_integer_outputs_come_back() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["s"], "g"),
        helper.make_node("ArgMax", ["s"], ["label"], "top", axis=1, keepdims=0),
        helper.make_node("Softmax", ["s"], ["p"], "soft"),
    ]
    model = models.build(
        nodes, inputs={"x": ["n", 6]}, outputs=["p"], constants={"w": models.normal(6, 4)}
    )
    model.graph.output.append(helper.make_tensor_value_info("label", 7, None))
    module = ql.quantize(ql.load_model(model), X, ql.QuantizationConfig.from_n_bits(8))
    probabilities, labels = module(X)
    assert labels.dtype.kind == "i"
    assert np.mean(np.argmax(probabilities, 1) == labels) > 0.9


def test_a_graph_of_linear_operators_alone_is_calibrated_on_float_results() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], "g1"),
        helper.make_node("Gemm", ["h", "v"], ["y"], "g2"),
    ]
    constants = {"w": models.normal(6, 5), "b": models.normal(5), "v": models.normal(5, 2)}
    graph = ql.load_model(
        models.build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], constants=constants)
    )
    module = ql.PostTrainingAffineQuantization(3, graph).quantize_module(X)
    first = X @ constants["w"] + constants["b"]
    grid = module.layers[0].outputs[0]
    assert grid is not None
    assert grid.quant_stats is not None
    assert np.isclose(grid.quant_stats.rmax, first.max(), rtol=1e-6)
