"""What pre-flight says of small graphs, against what Concrete ML 1.9 did with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.analysis.verdicts import CONCRETE_ML_OPS

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "verdicts.json").read_text())["cases"]
ARRAYS = np.load(GOLDEN / "verdicts.npz")
NOT_TOLD = {"ConstantOfShape of a constant"}
"""Concrete ML fails on it as long as a sum reads it; it is a constant here before anyone looks."""

SINGLE_SAMPLE = {
    "Greater with a number", "GreaterOrEqual with a number", "Less with a number",
    "LessOrEqual with a number", "Floor between products", "Floor after a product",
}  # fmt: skip
"""A value beside a threshold falls on the other side after quantization."""

COARSE = {"Div constant first", "Div of product and input", "Mul of product and input"}
"""Near a divisor of 0, and a product that leaves with the wrong sign of its zero point."""

ORIGINAL = {"BatchNormalization", "BatchNormalization epsilon", "BatchNormalization momentum",
            "BatchNormalization training_mode 0"}  # fmt: skip
"""Its range leaves out 0.1 % of the values on each side."""


OLD_REFERENCE = {"AveragePool ceil_mode counted"}
"""Concrete ML agrees with ONNX Runtime; the onnx package of its environment counted otherwise."""


def taken(case: dict[str, Any]) -> bool:
    """Whether Concrete ML quantizes, runs and compiles the graph."""
    return bool(case["accepted"] and not case["compile_error"])


def preflight(case: dict[str, Any]) -> ql.Preflight | None:
    """Return what we say; None of a file that breaks a rule of ONNX, which nobody takes."""
    try:
        return ql.inspect_model(ql.load_model(ARRAYS[f"{case['name']}.model"].tobytes()))
    except ql.ModelLoadError:
        return None


def named(cases: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", named([case for case in CASES if case["name"] not in NOT_TOLD]))
def test_the_verdict_is_that_of_concrete_ml(case: dict[str, Any]) -> None:
    found = preflight(case)
    refused = found is None or bool(found.refused or found.refusal)
    reasons = [node.refusal for node in found.refused] if found is not None else []
    told = case.get("error") or case.get("compile_error")
    assert refused is not taken(case), (reasons, told)


@pytest.mark.parametrize("case", named([case for case in CASES if taken(case)]))
def test_what_it_takes_it_computes_as_onnx_says_or_the_difference_is_told(
    case: dict[str, Any],
) -> None:
    found = preflight(case)
    assert found is not None
    told = any(node.departure for node in found.nodes)
    differs = not case["same_shape"] or case["deviation"] > 0.05
    if case["name"] in SINGLE_SAMPLE | COARSE | ORIGINAL | OLD_REFERENCE:
        assert not told
    elif differs:
        assert told
    if not told:
        x = ARRAYS[case["data"]]
        module = ql.PostTrainingAffineQuantization(
            case["n_bits"], ARRAYS[f"{case['name']}.model"].tobytes()
        ).quantize_module(x)
        outputs = module.quantized_forward(np.asarray(module.quantize_input(x)))
        for i, output in enumerate(outputs if isinstance(outputs, tuple) else (outputs,)):
            assert np.array_equal(output, ARRAYS[f"{case['name']}.y{i}"])


def test_most_of_what_is_told_is_seen() -> None:
    """A departure is told for a reason: the recorded result differs for most of them."""
    told = [
        case
        for case in CASES
        if taken(case)
        and (found := preflight(case)) is not None
        and any(node.departure for node in found.nodes)
    ]
    seen = [case for case in told if not case["same_shape"] or case["deviation"] > 0.05]
    assert len(told) >= 10
    assert len(seen) >= 0.6 * len(told)


def test_every_operator_and_many_variants_were_tried() -> None:
    assert len(CASES) >= 400
    assert sum(taken(case) for case in CASES) >= 200
    tried = {
        f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        for case in CASES
        for node in _nodes(case)
    }
    assert CONCRETE_ML_OPS - tried <= {"onnx.brevitas.Quant", "Unfold"}


def _nodes(case: dict[str, Any]) -> tuple[Any, ...]:
    try:
        return ql.load_model(ARRAYS[f"{case['name']}.model"].tobytes()).nodes
    except ql.ModelLoadError:
        return ()
