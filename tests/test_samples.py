from __future__ import annotations

import json

import pytest

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.workbench import Workbench
from quantlib.data import load_data
from tests.paths import SAMPLES

CARDS = {card["name"]: card for card in json.loads((SAMPLES / "cards.json").read_text())}


def test_there_are_at_least_six_and_they_are_small() -> None:
    assert len(CARDS) >= 6
    assert {path.stem for path in SAMPLES.glob("*.onnx")} == set(CARDS)
    assert sum(path.stat().st_size for path in SAMPLES.iterdir() if path.is_file()) < 5 * 2**20


@pytest.mark.parametrize("name", CARDS)
def test_a_card_says_what_the_model_measures(name: str) -> None:
    card = CARDS[name]
    content = (SAMPLES / f"{name}.onnx").read_bytes()
    graph = ql.load_model(content, name=name)
    data = load_data((SAMPLES / f"{name}.npz").read_bytes(), graph, name=f"{name}.npz")
    assert card["size_bytes"] == len(content)
    assert card["samples"]["calibration"] == len(data.calibration[0])
    assert card["samples"]["evaluation"] == len(data.evaluation[0])
    config = ql.QuantizationConfig.from_n_bits(12).replace(input_bits=16)
    found = evaluate(Workbench(graph, data), config)
    assert found.score is not None
    assert found.score.float_value == pytest.approx(card["float_metric"]["value"], abs=1e-4)
    assert found.score.quantized_value == pytest.approx(found.score.float_value, abs=0.02)
