"""Every kind of bad or unusual model gets its verdict, and leaves nothing behind."""

from __future__ import annotations

import pytest

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from tests.bad_inputs.cases import (
    CONFIG,
    Case,
    assert_is_one_clear_message,
    assert_is_what_the_file_says,
    good_figures,
    loaded,
)
from tests.bad_inputs.model_cases import MODELS

REFUSED = [case for case in MODELS if not case.runs]
RUNNING = [case for case in MODELS if case.runs]


@pytest.fixture(scope="module")
def good_before() -> tuple[float, ...]:
    return good_figures()


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_a_bad_model_is_one_clear_message_and_changes_nothing(
    case: Case, good_before: tuple[float, ...]
) -> None:
    with pytest.raises(ql.QuantlibError) as caught:
        loaded(case.make(), case.file)
    assert_is_one_clear_message(caught.value, case)
    assert good_figures() == good_before


@pytest.mark.parametrize("case", RUNNING, ids=str)
def test_an_unusual_model_runs_as_onnx_runtime_runs_it(case: Case) -> None:
    content = case.make()
    bench = loaded(content, case.file)
    if "qonnx" not in content.decode("latin-1"):
        assert_is_what_the_file_says(bench, content)
    found = evaluate(bench, CONFIG)
    listed = [layer.name for layer in found.layers]
    assert len(set(listed)) == len(listed) == len(bench.graph.nodes)
    for note in case.notes:
        assert any(note in said for said in bench.graph.notes)
