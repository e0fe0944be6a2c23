from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import quantlib as ql
from quantlib.cli.choices import configuration, estimator, with_layer_bits
from quantlib.cli.options import widths
from quantlib.core.estimator import ESTIMATORS, Estimator

BITS = st.integers(1, 32)
CONFIG = ql.QuantizationConfig.from_n_bits(4)


@given(st.lists(st.tuples(BITS, BITS).map(sorted), min_size=1, max_size=6))
def test_widths_are_the_union_of_ranges_however_they_are_written(
    spans: list[list[int]],
) -> None:
    parts = [f"{low}" if low == high else f"{low}-{high}" for low, high in spans]
    expected = sorted({n for low, high in spans for n in range(low, high + 1)})
    assert widths(parts, option="--b") == tuple(expected)
    assert widths([",".join(parts)], option="--b") == tuple(expected)


@pytest.mark.parametrize("words", ["", "x", "8-2", "0", "2-33", "-3", "2-", "1-9999999999", "4,,"])
def test_what_is_no_width_is_refused_by_the_name_of_its_option(words: str) -> None:
    with pytest.raises(ql.OptionsError, match="--weight-bits"):
        widths([words], option="--weight-bits")


@given(bits=BITS)
def test_bits_alone_mean_concrete_mls_n_bits(bits: int) -> None:
    chosen = configuration(None, bits=bits, weights={}, activations={}, edges={})
    assert chosen == ql.QuantizationConfig.from_n_bits(bits)


@given(bits=BITS, weights=BITS, activations=BITS)
def test_widths_of_their_own_win_over_bits(bits: int, weights: int, activations: int) -> None:
    chosen = configuration(
        None, bits=bits, weights={"n_bits": weights}, activations={"n_bits": activations}, edges={}
    )
    edge = max(5, activations)
    assert chosen == ql.QuantizationConfig(ql.Scheme(weights), ql.Scheme(activations), edge, edge)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_is_read_as_it_is_shown(name: str) -> None:
    assert estimator(name) == Estimator(name)
    assert estimator(Estimator(name).words) == Estimator(name)


@pytest.mark.parametrize("word", ["", "median", "percentile:", "percentile:x", "lp:0", "mse:1"])
def test_what_is_no_estimator_is_refused(word: str) -> None:
    with pytest.raises(ql.OptionsError):
        estimator(word)


def test_a_layer_keeps_what_its_width_does_not_change() -> None:
    base = CONFIG.with_override("a=b", ql.LayerOverride(weights=ql.Scheme(8, per_channel=True)))
    chosen = with_layer_bits(base, weights=["a=b=3"], activations=["a=b=7", "c=2"])
    assert dict(chosen.overrides) == {
        "a=b": ql.LayerOverride(ql.Scheme(3, per_channel=True), ql.Scheme(7)),
        "c": ql.LayerOverride(activations=ql.Scheme(2)),
    }


@pytest.mark.parametrize("word", ["", "=3", "layer", "layer=", "layer=x", "layer=40"])
def test_what_names_no_layer_and_width_is_refused(word: str) -> None:
    with pytest.raises(ql.OptionsError, match="--layer-weight-bits"):
        with_layer_bits(CONFIG, weights=[word], activations=None)
