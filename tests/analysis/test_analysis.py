from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.float_model import FloatModel
from quantlib.analysis.reports import Evaluation
from quantlib.analysis.workbench import Workbench
from quantlib.data import Dataset
from tests import models
from tests.models import build, normal

GRAPH = ql.load_model(models.mlp())
X = models.normal(700, 6, seed=9)
BASE = ql.QuantizationConfig.from_n_bits(4)


def dataset(n: int = 700) -> Dataset:
    module = ql.PostTrainingAffineQuantization(14, GRAPH).quantize_module(X[:100])
    labels = np.argmax(module(X[:n]), 1)
    return Dataset("made", (X[:100],), (X[:n],), labels, (), "digest")


DATA = dataset()
BENCH = Workbench(GRAPH, DATA)


def test_an_evaluation_agrees_with_the_module() -> None:
    found = evaluate(BENCH, BASE)
    module = ql.quantize(GRAPH, DATA.calibration, BASE)
    y, y_float = module(X), BENCH.float_model.output()
    assert isinstance(y, np.ndarray)
    assert found.max_error == pytest.approx(np.abs(y - y_float).max())
    assert found.mse == pytest.approx(np.mean((y - y_float) ** 2))
    agreement = np.mean(y.argmax(1) == y_float.argmax(1))
    assert found.agreement == agreement
    assert len(found.flips) == round((1 - agreement) * len(X))
    assert found.score is not None
    assert found.score.name == "accuracy"
    assert found.score.quantized_value == np.mean(y.argmax(1) == DATA.labels)
    report = module.bitwidth_and_range_report(X)
    for layer in found.layers:
        if layer.accumulator is not None:
            low, high = report[layer.name]["range"]
            assert layer.accumulator[0] <= low
            assert layer.accumulator[1] >= high
            assert layer.width_bits is not None
            assert layer.width_bits >= report[layer.name]["bitwidth"]
    assert found.layers[-1].sqnr_db == pytest.approx(found.sqnr_db, abs=1e-6)


def test_the_weights_take_their_bits_and_biases_32() -> None:
    found = evaluate(BENCH, BASE)
    assert found.weight_bytes == ((48 + 24) * 4 + 11 * 32) // 8
    assert found.float_weight_bytes == (48 + 24 + 11) * 4


def test_results_do_not_depend_on_whether_tensors_were_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = evaluate(BENCH, BASE)
    monkeypatch.setattr("quantlib.analysis.float_model.KEEP_BYTES", 0)
    again = evaluate(Workbench(GRAPH, DATA), BASE)
    assert kept.sqnr_db == again.sqnr_db
    assert [x.accumulator for x in kept.layers] == [x.accumulator for x in again.layers]


def test_flips_come_with_the_surest_first() -> None:
    found = evaluate(BENCH, ql.QuantizationConfig.from_n_bits(2))
    margins = [flip.float_margin for flip in found.flips]
    assert margins == sorted(margins, reverse=True)
    assert margins


def tiny(nodes: list[onnx.NodeProto], **constants: object) -> ql.Graph:
    return ql.load_model(
        models.build(nodes, inputs={"x": ["n", 3]}, outputs=["y"], constants=constants)
    )


def evaluated(graph: ql.Graph, labels: object = None) -> Evaluation:
    x = models.normal(20, 3)
    data = Dataset("made", (x,), (x,), labels, (), "d")  # type: ignore[arg-type]
    return evaluate(Workbench(graph, data), BASE)


def test_a_model_that_mixes_its_samples_is_evaluated_whole() -> None:
    graph = tiny([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)])
    found = evaluated(graph)
    x = models.normal(20, 3)
    y = np.asarray(ql.quantize(graph, x, BASE).forward(x))
    assert y.shape == ()
    assert found.mse == pytest.approx(float(np.square(x.mean() - y)), rel=1e-4)


def test_class_numbers_as_output_are_scored_as_such() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["s"]),
        helper.make_node("ArgMax", ["s"], ["y"], axis=1, keepdims=0),
    ]
    model = models.build(
        nodes,
        inputs={"x": ["n", 3]},
        outputs=["y"],
        constants={"w": models.normal(3, 4)},
        output_type=7,
    )
    graph = ql.load_model(model)
    answers = FloatModel(graph, (models.normal(20, 3),)).output()
    found = evaluated(graph, answers)
    assert found.score is not None
    assert (found.score.name, found.score.float_value) == ("accuracy", 1.0)


def test_constant_targets_have_no_score() -> None:
    graph = tiny([helper.make_node("Gemm", ["x", "w"], ["y"])], w=models.normal(3, 1))
    assert evaluated(graph, np.ones((20, 1))).score is None


def test_a_weight_that_is_no_number_is_named() -> None:
    weight = models.normal(3, 2)
    weight[1, 1] = np.nan
    with pytest.raises(ql.ModelLoadError, match=r"weight 'w' of node .* 1 of 6 values .* NaN"):
        tiny([helper.make_node("Gemm", ["x", "w"], ["y"])], w=weight)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, 7]), "class 7; the model has 3 outputs"),
        (np.array([-1, 1, 2]), "class -1"),
        (np.array([0.25, 1.5, 2.0]), r"labels of shape \(3,\) \(float64\) do not fit outputs"),
        (np.zeros((3, 2)), r"shape \(3, 2\)"),
    ],
)
def test_labels_that_do_not_fit_the_outputs_are_one_error(labels: Any, message: str) -> None:
    data = replace(DATA, evaluation=(X[:3],), labels=labels)
    with pytest.raises(ql.TensorError, match=message):
        evaluate(Workbench(GRAPH, data), BASE)


def test_the_widest_channel_of_a_product_with_a_constant_on_the_left_is_a_row() -> None:
    weights = normal(5, 6)
    weights[3] *= 20
    model = build(
        [helper.make_node("MatMul", ["w", "x"], ["y"], "mm"),
         helper.make_node("Relu", ["y"], ["z"], "r")],
        inputs={"x": ["n", 6, 4]}, outputs=["z"], constants={"w": weights},
    )  # fmt: skip
    graph, x = ql.load_model(model), normal(40, 6, 4)
    data = replace(DATA, calibration=(x,), evaluation=(x,), labels=None)
    config = BASE.replace(weights=ql.Scheme(5, True, True))
    found = evaluate(Workbench(graph, data), config)
    assert found.layers[0].widest_channel == 3


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_flips_name_labels_of_any_shape_that_a_score_takes(shape: tuple[int, ...]) -> None:
    data = replace(DATA, labels=np.asarray(DATA.labels, dtype=np.float64).reshape(shape))
    config = ql.QuantizationConfig.from_n_bits(2)
    found = evaluate(Workbench(GRAPH, data), config)
    assert found.score is not None and found.score.name == "accuracy"
    assert found.flips
    assert all(flip.label is not None for flip in found.flips)
