from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import quantlib as ql
from quantlib.fhe.circuit import is_available
from quantlib.questions import encrypt as questions
from tests.sample_data import sample

if TYPE_CHECKING:
    from tests.pages.conftest import OpenScreen


def test_without_a_compiler_the_screen_predicts_and_says_how_to_get_it(
    open_screen: OpenScreen,
) -> None:
    if is_available():
        pytest.skip("Concrete is installed")
    at = open_screen("pages/encrypt.py", model="digits_mlp")
    assert not at.exception
    assert at.metric[-3].label == "Bootstraps per sample"
    assert any("uv run --no-dev --extra app --extra fhe" in info.value for info in at.info)


def test_a_refusal_names_the_layer(open_screen: OpenScreen) -> None:
    at = open_screen("pages/encrypt.py", model="wine_sklearn")
    assert not at.exception
    assert any("Softmax stays in float" in m.value for m in at.markdown)


def test_a_remedy_is_applied_by_its_button() -> None:
    bench, config = sample("digits_mlp").bench, ql.QuantizationConfig.from_n_bits(8)
    found = questions.outlook(bench, config, "exact", on_data=False)
    assert found.refusals
    mended = questions.mended(config, found.refusals[0])
    assert not questions.outlook(bench, mended, "exact", on_data=False).refusals


def test_without_errors_every_sample_keeps_its_integers_and_its_score() -> None:
    bench, config = sample("digits_mlp").bench, ql.QuantizationConfig.from_n_bits(4)
    found = questions.with_errors(bench, config, "exact", 2.0**-40, 0)
    assert found.equal_samples == found.samples
    assert found.score is not None
    assert found.exact_score is not None
    assert found.score.quantized_value == found.exact_score.quantized_value
    often = questions.with_errors(bench, config, "exact", 2.0**-3, 0)
    assert often.equal_samples < often.samples


def test_names_are_shown_as_they_are_and_scores_as_in_the_headline(open_screen: OpenScreen) -> None:
    at = open_screen("pages/encrypt.py", model="digits_cnn")
    assert not at.exception
    names = [name for name in at.dataframe[0].value["layer"] if "_1" in name]
    assert names == ["/AveragePool_1"]
    accuracy = next(m.value for m in at.metric if m.label == "Accuracy")
    assert any(f"without errors {accuracy}" in m.value for m in at.markdown)
