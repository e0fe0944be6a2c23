"""Ties as a question and in words, on a model whose ties are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib import wording
from quantlib.analysis.ties import Ties
from quantlib.data import Dataset
from quantlib.questions import ask
from tests.models import build


def counted(evaluation: list[float]) -> Ties:
    """Count the ties of max(0, x - 1), x from 0 to 15, read on codes that stand for 0, 2, ... 14.

    Whole numbers from 0 to 15 lie on the input's 16 codes; of what the second product reads, the
    odd ones lie between two codes.
    """
    one = np.array([[1.0]], dtype=np.float32)
    graph = ql.load_model(
        build(
            [
                helper.make_node("Gemm", ["x", "one", "less"], ["h"], "first"),
                helper.make_node("Relu", ["h"], ["r"], "act"),
                helper.make_node("Gemm", ["r", "one"], ["y"], "second"),
            ],
            inputs={"x": ["batch", 1]},
            outputs=["y"],
            constants={"one": one, "less": np.array([-1.0], dtype=np.float32)},
        )
    )
    calibration = np.arange(16, dtype=np.float32)[:, None]
    samples = np.array(evaluation, dtype=np.float32)[:, None]
    data = Dataset("made", (calibration,), (samples,), None, (), "made")
    config = ql.QuantizationConfig(ql.Scheme(4), ql.Scheme(4), 4, 4).with_override(
        "second", ql.LayerOverride(activations=ql.Scheme(3))
    )
    found: Ties = ask(ql.Workbench(graph, data), "compare.ties", config)
    return found


@pytest.mark.parametrize(
    ("evaluation", "expected"),
    [
        pytest.param(range(16), 7, id="each"),
        pytest.param(range(1, 16, 2), 0, id="none"),
        pytest.param([2, 2, 3, 14], 3, id="repeated"),
    ],
)
def test_odd_numbers_between_even_codes_are_ties(evaluation: list[float], expected: int) -> None:
    found = counted(list(evaluation))
    assert found.decided_inside == expected
    assert int(found.samples.sum()) == expected
    assert found.integers_inside == found.integers - len(list(evaluation))


def test_the_sentence_holds_the_counts() -> None:
    inside = counted(list(range(16))).integers_inside
    assert wording.ties(counted(list(range(16)))) == (
        f"7 of {inside} rounded integers hang on the last bit, in 7 of 16 samples."
    )
    assert wording.ties(counted([1, 3])).startswith("None of ")
