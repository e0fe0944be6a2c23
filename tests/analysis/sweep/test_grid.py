from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import quantlib as ql
from quantlib.analysis.sweep.grid import MAX_COMBINATIONS, SweepGrid

BASE = ql.QuantizationConfig(
    ql.Scheme(4, narrow=True),
    ql.Scheme(4, power_of_two=True),
    input_bits=6,
    output_bits=7,
    rounding_threshold_bits=8,
    limit_bits=12,
    calibrate_on="float",
).with_override("g1", ql.LayerOverride(weights=ql.Scheme(3)))
ENTROPY = ql.Estimator("entropy")
CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "weight_bits": st.integers(1, 4),
    "activation_bits": st.integers(4, 8),
    "weights_signed": st.sampled_from([None, True, False]),
    "weights_symmetric": st.sampled_from([None, True, False]),
    "weights_per_channel": st.booleans(),
    "activations_signed": st.sampled_from([None, True, False]),
    "activations_symmetric": st.sampled_from([None, True, False]),
    "output_bits": st.sampled_from([None, 5, 7, 9]),
    "rounding_threshold_bits": st.sampled_from([None, 5, 7]),
    "calibrate_on": st.sampled_from(["quantized", "float"]),
}


@given(
    st.fixed_dictionaries(
        {}, optional={name: st.lists(v, min_size=1, max_size=2) for name, v in CHOICES.items()}
    )
)
def test_every_combination_is_a_configuration_or_counted_as_a_contradiction(
    choices: dict[str, list[Any]],
) -> None:
    grid = SweepGrid(**{name: tuple(values) for name, values in choices.items()})
    try:
        found = grid.expand(BASE)
    except ql.OptionsError as error:
        words = str(error)
        found = None
    if found is None:
        counts = [int(count) for count in re.findall(r"\((\d+) times\)", words)]
        listed = sum(counts)
        assert listed == grid.n_combinations if len(counts) < 4 else listed <= grid.n_combinations
        return
    assert len(found.configs) + found.repeats + found.left_out == grid.n_combinations
    assert len(set(found.configs)) == len(found.configs)
    for config in found.configs:
        assert config.limit_bits == BASE.limit_bits
        assert config.overrides == BASE.overrides
        assert config.weights.narrow and config.activations.power_of_two
        assert config.weights.n_bits in choices.get("weight_bits", [4])
        assert config.weights.signed in choices.get("weights_signed", [None])
        assert config.rounding_threshold_bits in choices.get("rounding_threshold_bits", [8])
        assert config.calibrate_on in choices.get("calibrate_on", ["float"])
        edges = choices.get("output_bits", [None])
        follows = max(5, config.activations.n_bits)
        assert config.output_bits in [follows if bits is None else bits for bits in edges]


def test_edges_follow_the_activations_unless_widths_are_given() -> None:
    wide = SweepGrid(activation_bits=(3, 8)).expand(BASE).configs
    assert [(c.input_bits, c.output_bits) for c in wide] == [(5, 5), (8, 8)]
    given_ = SweepGrid(activation_bits=(3, 8), input_bits=(2, None), output_bits=(9,))
    edges = [(c.input_bits, c.output_bits) for c in given_.expand(BASE).configs]
    assert edges == [(2, 9), (5, 9), (2, 9), (8, 9)]
    kept = SweepGrid(activation_bits=(3,), input_bits=None, output_bits=None).expand(BASE).configs
    assert [(c.input_bits, c.output_bits) for c in kept] == [(6, 7)]


def test_contradictions_are_left_out_and_counted() -> None:
    found = SweepGrid(
        weight_bits=(3, 4), weights_signed=(None, False), weights_symmetric=(True, False)
    ).expand(BASE)
    pairs = {(c.weights.signed, c.weights.symmetric) for c in found.configs}
    assert pairs == {(None, True), (None, False), (False, False)}
    [(why, count)] = found.contradictions
    assert count == 2
    assert why.startswith("weights: symmetric needs signed codes")


def test_outputs_below_the_activations_are_left_out() -> None:
    found = SweepGrid(activation_bits=(4, 6, 8), output_bits=(5, 7)).expand(BASE)
    assert [(c.activations.n_bits, c.output_bits) for c in found.configs] == [
        (4, 5),
        (4, 7),
        (6, 7),
    ]
    assert found.left_out == 3


def test_estimators_that_judge_widths_stop_at_theirs() -> None:
    grid = SweepGrid(weight_bits=(16, 17), weights_estimator=(ql.Estimator(), ENTROPY))
    found = grid.expand(BASE)
    assert found.left_out == 1
    assert "entropy" in found.contradictions[0][0]


def test_values_that_are_repeated_count_once() -> None:
    assert SweepGrid(weight_bits=(4, 4, 5)).n_combinations == 2


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        pytest.param(SweepGrid(weight_bits=()), "weight bits has no value.*one width", id="bits"),
        pytest.param(SweepGrid(weights_signed=()), "signed has no value.*one value", id="signed"),
        pytest.param(
            SweepGrid(weights_signed=(False,), weights_symmetric=(True,), weight_bits=(3, 4)),
            r"all its combinations contradict: weights: symmetric needs signed.*\(2 times\)",
            id="contradiction",
        ),
        pytest.param(
            SweepGrid(activation_bits=(8,), output_bits=(5, 6)),
            r"outputs have 5 bits, fewer than the 8.*\(1 times\); outputs have 6 bits",
            id="outputs",
        ),
    ],
)
def test_an_empty_grid_says_why(grid: SweepGrid, words: str) -> None:
    with pytest.raises(ql.OptionsError, match=f"the grid is empty.*{words}"):
        grid.expand(BASE)


def test_a_grid_that_is_too_large_says_how_large() -> None:
    widths = tuple(range(1, 33))
    grid = SweepGrid(
        weight_bits=widths,
        activation_bits=widths,
        rounding_threshold_bits=widths,
        input_bits=widths,
    )
    assert grid.n_combinations == 32**4 > MAX_COMBINATIONS
    with pytest.raises(ql.OptionsError, match="1048576 combinations"):
        grid.expand(BASE)
