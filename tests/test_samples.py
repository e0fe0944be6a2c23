from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import quantlib as ql
from pages.ui.home import samples
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.preflight import inspect_model
from quantlib.analysis.reports import Evaluation, Score
from quantlib.analysis.workbench import Workbench
from quantlib.data import load_data
from quantlib.graph.runtime import open_session
from tests.paths import SAMPLES
from tests.sample_data import CARDS, NAMES, sample
from tests.verdicts import sqnr_db

VARIANTS = {v["name"]: (name, v) for name, card in CARDS.items() for v in card["variants"]}
LOW_BITS = {"digits_qat": 4, "digits_qat_3": 3, "digits_qat_2": 2}


def at(bench: Workbench, n_bits: int) -> Evaluation:
    return evaluate(bench, ql.QuantizationConfig.from_n_bits(n_bits))


def score(found: Evaluation) -> Score:
    """Return the score of the output that the labels are of."""
    (only,) = [output.score for output in found.outputs if output.score]
    return only


def variant_bench(name: str) -> Workbench:
    """Return a variant, or a sample, on the sample's data."""
    owner = VARIANTS[name][0] if name in VARIANTS else name
    graph = ql.load_model((SAMPLES / f"{name}.onnx").read_bytes(), name=name)
    data = load_data((SAMPLES / f"{owner}.npz").read_bytes(), graph, name=f"{owner}.npz")
    return Workbench(graph, data)


def test_there_are_at_least_ten_and_they_are_small() -> None:
    assert len(CARDS) >= 10
    assert {path.stem for path in SAMPLES.glob("*.onnx")} == {*CARDS, *VARIANTS}
    assert {path.stem for path in SAMPLES.glob("*.npz")} == set(CARDS)
    assert sum(path.stat().st_size for path in SAMPLES.iterdir() if path.is_file()) < 5 * 2**20
    assert (SAMPLES / "digits_transformer.onnx").stat().st_size < 300 * 2**10
    assert all(variant["size_bytes"] < 60 * 2**10 for _, variant in VARIANTS.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_the_model_measures(name: str) -> None:
    card = CARDS[name]
    content = (SAMPLES / f"{name}.onnx").read_bytes()
    graph = ql.load_model(content, name=name)
    data = load_data((SAMPLES / f"{name}.npz").read_bytes(), graph, name=f"{name}.npz")
    assert card["size_bytes"] == len(content)
    assert card["samples"]["calibration"] == len(data.calibration[0])
    assert card["samples"]["evaluation"] == len(data.evaluation[0])
    config = ql.QuantizationConfig.from_n_bits(12).replace(input_bits=16)
    found = score(evaluate(Workbench(graph, data), config))
    assert found.float_value == pytest.approx(card["float_metric"]["value"], abs=1e-4)
    assert found.quantized_value == pytest.approx(found.float_value, abs=0.02)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_measures_on_its_sample_s_data_what_the_card_says(name: str) -> None:
    owner, variant = VARIANTS[name]
    assert variant["size_bytes"] == (SAMPLES / f"{name}.onnx").stat().st_size
    found = score(at(variant_bench(name), 12))
    assert found.float_value == pytest.approx(variant["float_metric"]["value"], abs=1e-4)
    (shown,) = [v for v in samples.cards()[owner].variants if v.name == name]
    assert (shown.title, shown.metric_value, shown.size_bytes) == (
        variant["title"], variant["float_metric"]["value"], variant["size_bytes"],
    )  # fmt: skip
    assert shown.model_bytes == (SAMPLES / f"{name}.onnx").read_bytes()


@pytest.mark.parametrize(("name", "n_bits"), LOW_BITS.items())
def test_a_model_trained_for_few_bits_runs_on_its_own_grids_as_in_onnx_runtime(
    name: str, n_bits: int
) -> None:
    bench = variant_bench(name)
    assert {node.carried_bits for node in inspect_model(bench.graph).carried} == {n_bits}
    (x,) = bench.data.evaluation
    expected = open_session((SAMPLES / f"{name}.onnx").read_bytes()).run(None, {"input": x})[0]
    # powers of two and sums below 2^24 are exact in float32
    assert np.array_equal(bench.module(ql.QuantizationConfig.from_n_bits(7)).forward(x), expected)


def test_training_for_few_bits_beats_quantizing_afterwards_as_the_card_says() -> None:
    trained = {n: score(at(variant_bench(name), n)) for name, n in LOW_BITS.items()}
    float_bench = variant_bench("digits_qat_float")
    afterwards = {n: score(at(float_bench, n)).quantized_value for n in trained}
    for n_bits, found in trained.items():
        assert found.quantized_value == found.float_value
        assert found.quantized_value > afterwards[n_bits] + 0.02
    assert round(trained[4].quantized_value, 3) == 0.982
    assert round(afterwards[4], 3) == 0.942


def test_the_transformer_has_the_figures_and_the_float_islands_of_its_card() -> None:
    bench = sample("digits_transformer").bench
    assert bench.graph.batch.size is None
    model = onnx.load(SAMPLES / "digits_transformer.onnx")
    assert [entry.version for entry in model.opset_import] == [17]
    assert score(at(bench, 8)).float_value > 0.93
    assert [round(at(bench, n).sqnr_db) for n in (8, 4)] == [30, 5]
    nodes = inspect_model(bench.graph).nodes
    islands = {node.op_type for node in nodes if str(node.treatment) == "float island"}
    assert {"LayerNormalization", "Softmax"} <= islands


def test_the_detector_finds_place_and_class_as_its_card_says() -> None:
    found = sample("digits_detector")
    truth = np.load(SAMPLES / "digits_detector.npz")["boxes"]
    (x,), labels = found.data.evaluation, found.data.labels
    assert [o for o in found.data.notes if "'boxes'" in o]

    def figures(boxes: Any, classes: Any) -> tuple[float, float]:
        distance = np.sqrt(np.square(boxes - truth).sum(axis=1)).mean()
        return float(distance), float(np.mean(classes.argmax(axis=1) == labels))

    session = open_session((SAMPLES / "digits_detector.onnx").read_bytes())
    distance, accuracy = figures(*session.run(["boxes", "classes"], {"input": x}))
    assert distance < 1
    assert accuracy > 0.9
    assert (round(distance, 1), round(accuracy, 2)) == (0.3, 0.94)
    outputs: Any = found.bench.module(ql.QuantizationConfig.from_n_bits(5)).forward(x)
    distance, accuracy = figures(*outputs)
    assert (round(distance, 1), round(accuracy, 2)) == (0.9, 0.70)


@pytest.mark.parametrize(
    "name", [name for name in (*CARDS, *VARIANTS) if name.startswith("digits_")]
)
def test_eight_bits_or_the_model_s_own_keep_25_db(name: str) -> None:
    bench = variant_bench(name)
    expected = bench.float_model
    module = bench.module(ql.QuantizationConfig.from_n_bits(8))
    actual: Any = module.forward(*bench.data.evaluation)
    outputs = tuple(expected.output(o) for o in bench.graph.output_names)
    found = sqnr_db(outputs, actual if isinstance(actual, tuple) else (actual,))
    assert found > 25
