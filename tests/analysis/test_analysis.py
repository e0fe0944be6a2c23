from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.histograms import activation_histograms, grid_fit, histogram
from quantlib.analysis.reference import FloatReference
from quantlib.analysis.reports import Evaluation
from quantlib.data import Dataset
from tests import models

GRAPH = ql.load_model(models.mlp())
X = models.normal(700, 6, seed=9)
BASE = ql.QuantizationConfig.from_n_bits(4)


def dataset(n: int = 700) -> Dataset:
    module = ql.PostTrainingAffineQuantization(14, GRAPH).quantize_module(X[:100])
    labels = np.argmax(module(X[:n]), 1)
    return Dataset("made", (X[:100],), (X[:n],), labels, (), "digest")


DATA = dataset()
REFERENCE = FloatReference(GRAPH, DATA.evaluation)


def test_an_evaluation_agrees_with_the_module() -> None:
    found = evaluate(GRAPH, DATA, BASE, reference=REFERENCE)
    module = ql.quantize(GRAPH, DATA.calibration, BASE)
    y, y_float = module(X), REFERENCE.output()
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
    found = evaluate(GRAPH, DATA, BASE, reference=REFERENCE)
    assert found.weight_bytes == ((48 + 24) * 4 + 11 * 32) // 8
    assert found.float_weight_bytes == (48 + 24 + 11) * 4


def test_results_do_not_depend_on_whether_tensors_were_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = evaluate(GRAPH, DATA, BASE, reference=REFERENCE)
    monkeypatch.setattr("quantlib.analysis.reference.KEEP_BYTES", 0)
    again = evaluate(GRAPH, DATA, BASE, reference=FloatReference(GRAPH, DATA.evaluation))
    assert kept.sqnr_db == again.sqnr_db
    assert [x.accumulator for x in kept.layers] == [x.accumulator for x in again.layers]


def test_flips_come_with_the_surest_first() -> None:
    found = evaluate(GRAPH, DATA, ql.QuantizationConfig.from_n_bits(2), reference=REFERENCE)
    margins = [flip.float_margin for flip in found.flips]
    assert margins == sorted(margins, reverse=True)
    assert margins


def test_a_histogram_counts_every_value_once() -> None:
    measured = histogram(X)
    assert measured.n_values == X.size
    assert measured.stats.rmin == X.min()
    by_name = activation_histograms(FloatReference(GRAPH, (X,)))
    assert set(by_name) == {"x", "h", "r", "y"}
    assert np.array_equal(by_name["x"].counts, measured.counts)
    assert by_name["r"].n_zero > 0


@pytest.mark.parametrize("constant", [0.0, 5.0, -1e30, 1e-40])
def test_a_histogram_of_a_constant_has_bins(constant: float) -> None:
    measured = histogram(np.full(7, constant))
    assert measured.n_values == 7
    assert np.all(np.diff(measured.edges) > 0)


def test_a_grid_that_is_too_short_clips() -> None:
    measured = histogram(np.linspace(-1, 1, 10_001))
    options = ql.QuantizationOptions(4)
    full = ql.UniformQuantizer.from_stats(options, measured.stats)
    half = ql.UniformQuantizer.from_stats(
        options, ql.MinMaxQuantizationStats(rmax=np.float64(0.5), rmin=np.float64(-0.5))
    )
    assert grid_fit(measured, full).clipped_share < 0.01
    assert grid_fit(measured, half).clipped_share == pytest.approx(0.45, abs=0.05)
    assert grid_fit(measured, full).used_codes in (15, 16)
    assert grid_fit(measured, full).sqnr_db > grid_fit(measured, half).sqnr_db
    exact = 10 * np.log10((1 / 3) / (float(full.scale) ** 2 / 12))
    assert grid_fit(measured, full).sqnr_db == pytest.approx(exact, abs=0.6)


def tiny(nodes: list[onnx.NodeProto], **constants: object) -> ql.Graph:
    return ql.load_model(
        models.build(nodes, inputs={"x": ["n", 3]}, outputs=["y"], constants=constants)
    )


def evaluated(graph: ql.Graph, labels: object = None) -> Evaluation:
    x = models.normal(20, 3)
    data = Dataset("made", (x,), (x,), labels, (), "d")  # type: ignore[arg-type]
    return evaluate(graph, data, BASE, reference=FloatReference(graph, data.evaluation))


def test_a_model_without_a_row_per_sample_is_refused() -> None:
    graph = tiny([helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)])
    with pytest.raises(ql.TensorError, match="one row of output per sample"):
        evaluated(graph)


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
    answers = FloatReference(graph, (models.normal(20, 3),)).output()
    found = evaluated(graph, answers)
    assert found.score is not None
    assert (found.score.name, found.score.float_value) == ("accuracy", 1.0)


def test_constant_targets_have_no_score() -> None:
    graph = tiny([helper.make_node("Gemm", ["x", "w"], ["y"])], w=models.normal(3, 1))
    assert evaluated(graph, np.ones((20, 1))).score is None


def test_a_weight_that_is_no_number_is_named() -> None:
    weight = models.normal(3, 2)
    weight[1, 1] = np.nan
    graph = tiny([helper.make_node("Gemm", ["x", "w"], ["y"])], w=weight)
    with pytest.raises(ql.TensorError, match=r"weight 'w'.*\(1, 1\)"):
        evaluated(graph)
