"""The sample models end to end, against Concrete ML 1.9's integers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from tests.paths import ROOT

GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "samples.json").read_text())["cases"]
ARRAYS = np.load(GOLDEN / "samples.npz")


@pytest.mark.parametrize("case", [pytest.param(case, id=case["key"]) for case in CASES])
def test_a_sample_has_the_integers_of_concrete_ml(case: dict[str, Any]) -> None:
    folder = ROOT / "sample_models"
    data = np.load(folder / f"{case['model']}.npz")
    module = ql.PostTrainingAffineQuantization(
        case["n_bits"],
        folder / f"{case['model']}.onnx",
        rounding_threshold_bits=case["rounding_threshold_bits"],
    ).quantize_module(data["calibration"])
    codes = module.quantized_forward(module.quantize_input(data["evaluation"]))  # type: ignore[arg-type]
    assert np.array_equal(codes, ARRAYS[case["key"]])
    values, trace = module.forward(data["evaluation"], debug=True)
    assert (
        hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
        == (case["values_sha256"])
    )
    seen = {
        op: [int(e["output"].min()), int(e["output"].max())]
        for op, e in trace.items()
        if "output" in e
    }
    assert {op: seen[op] for op in case["accumulators"]} == case["accumulators"]
