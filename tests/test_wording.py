"""Figures in words: each value in the words that people read, written here by hand."""

from __future__ import annotations

import pytest

from quantlib import wording
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.reports import Score
from quantlib.core.config import QuantizationConfig
from quantlib.core.scheme import LayerOverride
from tests.sample_data import sample


def test_what_is_missing_is_a_dash_in_every_word() -> None:
    words = (
        wording.decibel, wording.share, wording.number, wording.whole, wording.span, wording.grid,
        wording.scores,
    )  # fmt: skip
    assert [word(None) for word in words] == ["–"] * len(words)


@pytest.mark.parametrize(
    ("score", "words"),
    [(Score("accuracy", 0.984, 0.9637), "96.4 % (float 98.4 %)"),
     (Score("R²", 0.5, -0.25), "-0.250 (float 0.500)")],
)  # fmt: skip
def test_a_score_stands_beside_that_of_the_float_model(score: Score, words: str) -> None:
    assert wording.scores(score) == words


def test_sizes_stand_beside_those_of_float32() -> None:
    found = evaluate(sample("iris_linear").bench, QuantizationConfig.from_n_bits(4))
    # 4 x 3 weights of 4 bits and 3 biases of 32 bits, against 15 numbers of 32 bits
    assert wording.sizes(found) == "18 B (float32 60 B)"


def test_the_line_of_a_configuration_is_its_choices_one_after_the_other() -> None:
    base = QuantizationConfig.from_n_bits(4, rounding_threshold_bits=6)
    chosen = base.replace(calibrate_on="float").with_override(
        "c1", LayerOverride(base.weights.replace(n_bits=3, signed=True), None)
    )
    assert wording.choices(chosen) == (
        ("weights", "4 bits"),
        ("activations", "4 bits"),
        ("inputs", "5 bits"),
        ("outputs", "5 bits"),
        ("rounding", "to 6 bits"),
        ("calibrated on", "float"),
        ("c1 weights", "3 bits, signed yes"),
    )
    assert wording.config(chosen) == (
        "weights 4 bits; activations 4 bits; inputs 5 bits; outputs 5 bits; rounding to 6 bits; "
        "calibrated on float; c1 weights 3 bits, signed yes"
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "0"), (999_999.0, "999,999"), (5_912_345_678_901.0, "5.91 × 10¹²"), (1e6, "1.00 × 10⁶")],
)
def test_large_numbers_are_told_by_their_power_of_ten(value: float, words: str) -> None:
    assert wording.magnitude(value) == words


def test_exponents_stand_above() -> None:
    assert wording.raised(-40) == "⁻⁴⁰"
