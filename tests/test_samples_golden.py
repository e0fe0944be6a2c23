"""The sample models against Concrete ML 1.9's integers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from tests import processors, reference
from tests.paths import ROOT

GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "samples.json").read_text())["cases"]
ARRAYS = np.load(GOLDEN / "samples.npz")


PARAMETERS = [pytest.param(case, id=case["key"]) for case in CASES]


def quantized(
    case: dict[str, Any], statistics: dict[str, ql.MinMaxQuantizationStats] | None
) -> tuple[ql.QuantizedModule, Any]:
    """The sample as the case has it, and the evaluation data."""
    folder = ROOT / "sample_models"
    data = np.load(folder / f"{case['model']}.npz")
    quantizer = ql.PostTrainingAffineQuantization(
        case["n_bits"],
        folder / f"{case['model']}.onnx",
        rounding_threshold_bits=case["rounding_threshold_bits"],
    )
    module = quantizer.quantize_module(data["calibration"], statistics=statistics)
    return module, data["evaluation"]


@pytest.mark.parametrize("case", PARAMETERS)
def test_given_the_statistics_every_integer_is_concrete_mls(case: dict[str, Any]) -> None:
    module, evaluation = quantized(case, reference.statistics(case["statistics"]))
    codes = module.quantized_forward(module.quantize_input(evaluation))  # type: ignore[arg-type]
    assert np.array_equal(codes, ARRAYS[case["key"]])
    (grid,) = module.output_quantizers
    assert grid is not None
    assert grid.scale == case["output"]["scale"]
    assert np.array_equal(grid.zero_point, case["output"]["zero_point"])
    values, trace = module.forward(evaluation, debug=True)
    points = np.asarray(case["output"]["zero_point"], dtype=np.float64)
    assert np.array_equal(values, case["output"]["scale"] * (ARRAYS[case["key"]] - points))
    seen = {
        op: [int(e["output"].min()), int(e["output"].max())]
        for op, e in trace.items()
        if "output" in e
    }
    assert {op: seen[op] for op in case["accumulators"]} == case["accumulators"]


def test_end_to_end_the_integers_are_equal_up_to_counted_ties() -> None:
    moved = []
    for case in CASES:
        recorded = reference.statistics(case["statistics"])
        given, evaluation = quantized(case, recorded)
        module, _ = quantized(case, None)
        if processors.assert_equal_up_to_ties(
            module, given, recorded, evaluation, ARRAYS[case["key"]]
        ):
            moved.append(case["key"])
    assert len(moved) <= 2, f"ties moved ranges in {moved}"
