"""Functions of one value at many input scales, against Concrete ML 1.9's integers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantlib as ql

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "univariate.json").read_text())["cases"]
ARRAYS = np.load(GOLDEN / "univariate.npz")
MODELS = list(dict.fromkeys(case["model"] for case in CASES))


def integers(case: dict[str, Any]) -> tuple[Any, Any]:
    """Return our integers and the recorded ones."""
    name, scale = case["model"], np.float32(case["scale"])
    calibration, x = (ARRAYS[f"data.{part}"] * scale for part in "ce")
    graph = ARRAYS[f"{name}.model"].tobytes()
    module = ql.PostTrainingAffineQuantization(case["n_bits"], graph).quantize_module(calibration)
    codes = np.asarray(module.quantize_input(x))
    return module.quantized_forward(codes), ARRAYS[f"{name}.y"][case["row"]]


@pytest.mark.parametrize("name", MODELS)
def test_a_function_has_the_integers_of_concrete_ml_at_every_scale(name: str) -> None:
    differ = {}
    for case in CASES:
        if case["model"] == name:
            found, wanted = integers(case)
            if not np.array_equal(found, wanted):
                differ[case["scale"], case["n_bits"]] = int(np.sum(found != wanted))
    assert not differ


def test_there_are_many_scales_and_places() -> None:
    assert len(CASES) >= 800
    assert len(MODELS) >= 45
