"""Small graphs, one per operator or pattern, against Concrete ML 1.9's integers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from tests.paths import GOLDEN

CASES = json.loads((GOLDEN / "operators.json").read_text())["cases"]
ARRAYS = {
    key: array
    for name in ("operators", "operators_unfold")
    for key, array in np.load(GOLDEN / f"{name}.npz").items()
}


def several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["key"]) for case in CASES])
def test_a_small_graph_has_the_integers_of_concrete_ml(case: dict[str, Any]) -> None:
    def arrays(part: str, count: int) -> list[Any]:
        return [ARRAYS[f"{case['key']}.{part}{i}"] for i in range(count)]

    module = ql.PostTrainingAffineQuantization(
        case["n_bits"],
        ARRAYS[f"{case['key']}.model"].tobytes(),
        rounding_threshold_bits=case["rounding_threshold_bits"],
    ).quantize_module(*arrays("c", case["inputs"]))
    x = arrays("e", case["inputs"])
    codes = several(module.quantize_input(*x))
    for found, wanted in zip(codes, arrays("x", case["inputs"]), strict=True):
        assert np.array_equal(found, wanted)
    outputs = several(module.quantized_forward(*codes))
    for found, wanted in zip(outputs, arrays("y", case["outputs"]), strict=True):
        assert np.array_equal(found, wanted)
    whole = several(module.forward(*x))
    for found, wanted in zip(several(module.dequantize_output(*outputs)), whole, strict=True):
        assert np.array_equal(found, wanted)


def test_there_are_many_patterns() -> None:
    assert len(CASES) >= 120
