from __future__ import annotations

import json
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.analysis.attribution.ledger import error_ledger
from quantlib.analysis.attribution.sensitivity import (
    Direction,
    Effect,
    Part,
    Sensitivity,
    sensitivities,
    sensitivity,
)
from quantlib.analysis.float_model import FloatModel
from quantlib.core.tensor import Tensor
from quantlib.data import Dataset
from quantlib.errors import ConfigurationError
from tests import models
from tests.sample_data import sample

GRAPH = ql.load_model(models.mlp())
X = models.normal(150, 6, seed=9)
LABELS = np.arange(150) % 3
CONFIG = ql.QuantizationConfig.from_n_bits(3)
MODULE = ql.quantize(GRAPH, X[:60], CONFIG)
REFERENCE = FloatModel(GRAPH, (X,))
DATA = Dataset("made", (X[:60],), (X,), LABELS, (), "digest")


class Waiting(Executor):
    """Runs the first task at once; the others wait for ever."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, task: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if not self.futures:
            future.set_result(task(*args, **kwargs))
        self.futures.append(future)
        return future


def measured(
    module: ql.QuantizedModule = MODULE,
    reference: FloatModel = REFERENCE,
    labels: Any = LABELS,
    workers: int = 1,
) -> Sensitivity:
    with ThreadPoolExecutor(workers) as executor:
        return sensitivity(module, reference, labels, executor=executor)


def by_hand(
    quantized: dict[str, tuple[bool, bool]], module: ql.QuantizedModule = MODULE
) -> tuple[Any, Any]:
    """Return float and partly quantized outputs of the MLP, by matrix products alone."""
    outputs = []
    for chosen in ({}, quantized):
        h = X.astype(np.float64)
        for i, layer in enumerate(x for x in module.layers if x.name != "act"):
            weights, activations = chosen.get(layer.name, (False, False))
            constant = layer.constants[1]
            grid = layer.operand_grid
            assert isinstance(constant, Tensor) and grid is not None
            w = constant.quantizer.dequant(constant.codes) if weights else constant.values
            h = grid.dequant(grid.quant(X if i == 0 else h)) if activations else h
            h = h @ w.T.astype(np.float64) + GRAPH.constants[layer.node.inputs[2]]
            h = np.maximum(h, 0) if i == 0 else h
        outputs.append(h)
    return outputs[0], outputs[1]


PARTS = {Part.BOTH: (True, True), Part.WEIGHTS: (True, False), Part.ACTIVATIONS: (False, True)}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("layer", ["g1", "g2"])
def test_effects_are_those_of_matrix_products_by_hand(layer: str, part: Part) -> None:
    found = measured()
    others = {name: (True, True) for name in ("g1", "g2") if name != layer}
    w, a = PARTS[part]
    states = {
        Direction.QUANTIZED_ALONE: {layer: (w, a)},
        Direction.FLOAT_ALONE: {**others, layer: (not w, not a)},
    }
    for direction, quantized in states.items():
        (effect,) = [
            e for e in found.effects if (e.layer, e.direction, e.part) == (layer, direction, part)
        ]
        y_float, y = by_hand(quantized)
        assert effect.mse == pytest.approx(np.mean((y - y_float) ** 2), rel=1e-4)
        assert effect.agreement == np.mean(y.argmax(1) == y_float.argmax(1))
        assert effect.score == np.mean(y.argmax(1) == LABELS)


def test_the_whole_is_the_module() -> None:
    found = measured()
    y = MODULE.forward(X)
    assert isinstance(y, np.ndarray)
    assert found.mse == pytest.approx(np.mean((y - REFERENCE.output()) ** 2))
    assert found.score == np.mean(y.argmax(1) == LABELS)
    assert found.score_name == "accuracy"
    assert len(found.effects) == 2 * 2 * 3


def test_the_ranking_puts_what_matters_most_first() -> None:
    found = measured()
    damage = [effect.mse for effect in found.ranked(Direction.QUANTIZED_ALONE)]
    left = [effect.mse for effect in found.ranked(Direction.FLOAT_ALONE, Part.WEIGHTS)]
    assert damage == sorted(damage, reverse=True)
    assert left == sorted(left)
    assert len(damage) == len(left) == 2


@pytest.mark.parametrize("name", ["digits_resnet", "wine_sklearn"])
def test_weights_alone_cost_what_the_ledger_says(name: str) -> None:
    made = sample(name)
    module = ql.quantize(made.graph, made.data.calibration, ql.QuantizationConfig.from_n_bits(4))
    found = measured(module, made.reference, made.data.labels, workers=2)
    ledger = error_ledger(module, made.reference)
    effects = [
        e
        for e in found.effects
        if (e.direction, e.part) == (Direction.QUANTIZED_ALONE, Part.WEIGHTS)
    ]
    assert effects
    for effect in effects:
        alone = sum(e.alone for s, e in ledger.of(effect.layer).items() if "weight" in s)
        assert effect.mse == pytest.approx(alone, rel=1e-4, abs=1e-9)


def test_results_do_not_depend_on_the_number_of_workers() -> None:
    assert measured(workers=1) == measured(workers=2)


def test_json_brings_the_same_value_back() -> None:
    found = measured()
    exact = replace(found.effects[0], mse=0.0, sqnr_db=float("inf"), agreement=None, score=None)
    silent = replace(found.effects[1], mse=1.0, sqnr_db=-float("inf"))
    value = replace(found, effects=(exact, silent, *found.effects))
    text = value.to_json()
    assert Sensitivity.from_json(text) == value
    assert "Infinity" not in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda _: "[", "no JSON", id="not-json"),
        pytest.param(lambda _: "[]", "no JSON object", id="a-list"),
        pytest.param(lambda d: json.dumps({**d, "schema_version": 9}), "is 9", id="version"),
        pytest.param(lambda d: json.dumps({**d, "more": 1}), "more", id="unknown-member"),
        pytest.param(
            lambda d: json.dumps({k: v for k, v in d.items() if k != "effects"}),
            "effects",
            id="missing-member",
        ),
        pytest.param(
            lambda d: json.dumps({**d, "effects": [{**d["effects"][0], "part": "all"}]}),
            "all",
            id="wrong-member",
        ),
    ],
)
def test_a_wrong_document_is_refused_in_words(change: Any, words: str) -> None:
    document = json.loads(measured().to_json())
    with pytest.raises(ConfigurationError, match=words):
        Sensitivity.from_json(change(document))


def test_a_caller_that_stops_cancels_what_has_not_begun() -> None:
    executor = Waiting()
    effects = sensitivities(MODULE, REFERENCE, LABELS, executor=executor)
    assert isinstance(next(effects), Effect)
    effects.close()  # type: ignore[attr-defined]
    assert len(executor.futures) == 2
    assert [future.cancelled() for future in executor.futures] == [False, True]


@pytest.mark.parametrize("labels", [np.arange(7), np.full(20, 7)])
def test_labels_that_do_not_fit_are_refused(labels: Any) -> None:
    graph = ql.load_model(models.mlp())
    x = models.normal(20, 6)
    module = ql.quantize(graph, x, ql.QuantizationConfig.from_n_bits(3))
    with ThreadPoolExecutor(1) as executor, pytest.raises(ql.TensorError, match="labels"):
        sensitivity(module, FloatModel(graph, (x,)), labels, executor=executor)
