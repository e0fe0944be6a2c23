from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import quantlib as ql
from quantlib.core.estimator import ESTIMATORS, WEIGHT_ESTIMATORS, Estimator
from quantlib.core.scheme import LayerOverride
from quantlib.core.widths import bit_width

BASE = ql.QuantizationConfig.from_n_bits(4)
tristate = st.sampled_from([None, True, False])


@st.composite
def schemes(draw: st.DrawFn) -> ql.Scheme:
    signed = draw(tristate)
    symmetric = draw(tristate.filter(lambda value: not (value and signed is False)))
    return ql.Scheme(draw(st.integers(2, 16)), signed, symmetric)


@given(schemes(), schemes(), st.integers(16, 32), st.none() | st.integers(1, 32))
def test_a_configuration_survives_json(
    weights: ql.Scheme, activations: ql.Scheme, output_bits: int, rounding: int | None
) -> None:
    config = ql.QuantizationConfig(weights, activations, 5, output_bits, rounding, 8)
    assert ql.QuantizationConfig.from_json(config.to_json()) == config


def test_one_width_means_four() -> None:
    assert BASE.n_bits == {
        "model_inputs": 5,
        "op_inputs": 4,
        "op_weights": 4,
        "model_outputs": 5,
    }
    assert set(ql.QuantizationConfig.from_n_bits(7).n_bits.values()) == {7}


def test_a_mapping_of_widths_fills_in_the_edges() -> None:
    config = ql.QuantizationConfig.from_n_bits({"op_inputs": 6, "op_weights": 3})
    assert (config.input_bits, config.output_bits) == (5, 6)


@pytest.mark.parametrize(
    ("n_bits", "message"),
    [
        ({"op_inputs": 3}, "no op_weights"),
        ({"op_inputs": 3, "op_weights": 3, "bias": 2}, "unknown key bias"),
        ({"op_inputs": 6, "op_weights": 3, "model_outputs": 4}, "outputs have 4 bits"),
        (0, "1 to 32"),
        ("four", "integer or a mapping"),
        (3.5, "integer or a mapping"),
        (True, "integer or a mapping"),
    ],
)
def test_wrong_widths_are_refused(n_bits: Any, message: str) -> None:
    with pytest.raises(ql.OptionsError, match=message):
        ql.QuantizationConfig.from_n_bits(n_bits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 9}, r"\$\.schema_version is 9"),
        ({"colour": 1}, r"\$\.colour is unknown"),
        ({"weights": {"n_bits": 40}}, r"\$\.weights: n_bits is 40"),
        ({"weights": {"n_bits": "4"}}, r"\$\.weights\.n_bits is '4'; expected int"),
        ({"weights": {}}, r"\$\.weights\.n_bits is missing"),
        ({"weights": 4}, r"\$\.weights: expected an object"),
        ({"limit_bits": True}, r"\$\.limit_bits is True"),
        ({"activations": {"n_bits": 3, "signed": False, "symmetric": True}}, "symmetric needs"),
        ({"output_bits": 2}, "outputs have 2 bits"),
    ],
)
def test_a_wrong_document_names_the_path(change: dict[str, Any], message: str) -> None:
    document = {**json.loads(BASE.to_json()), **change}
    with pytest.raises(ql.ConfigurationError, match=message):
        ql.QuantizationConfig.from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{", "[]", "4", "\x00"])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(ql.ConfigurationError):
        ql.QuantizationConfig.from_json(text)


@given(st.integers(-(2**70), 2**70), st.integers(0, 2**70))
def test_a_width_is_the_smallest_that_holds_the_range(low: int, extent: int) -> None:
    high = low + extent
    bits = bit_width(low, high)

    def holds(width: int) -> bool:
        if low >= 0:
            return high < 1 << width
        return low >= -(1 << (width - 1)) and high < 1 << (width - 1)

    assert holds(bits)
    assert bits == 1 or not holds(bits - 1)


@pytest.mark.parametrize("name", ["moving-average", "sample-mean"])
def test_weights_take_no_estimator_that_works_on_samples(name: str) -> None:
    averaged = ql.Scheme(4, estimator=Estimator(name))
    config = ql.QuantizationConfig.from_n_bits(4)
    assert config.replace(activations=averaged).activations == averaged
    with pytest.raises(ql.OptionsError, match="weights have none"):
        config.replace(weights=averaged)
    with pytest.raises(ql.OptionsError, match="weights have none"):
        LayerOverride(weights=averaged)
    assert name not in WEIGHT_ESTIMATORS
    assert {*WEIGHT_ESTIMATORS, "moving-average", "sample-mean"} == set(ESTIMATORS)


@pytest.mark.parametrize(
    ("part", "change", "named"),
    [
        pytest.param(part, change, named, id=f"{part}-{named.replace(' ', '-')}")
        for part in ("weights", "activations")
        for change, named in (
            ({"signed": True}, "signs"),
            ({"symmetric": True}, "symmetry"),
            ({"narrow": True}, "narrow range"),
            ({"power_of_two": True}, "power-of-two scales"),
            ({"per_channel": True}, "grids per channel"),
            ({"estimator": Estimator("mse")}, "mse range"),
        )
        if part == "weights" or "per_channel" not in change
    ],
)
def test_each_choice_that_concrete_ml_lacks_is_named(
    part: str, change: dict[str, Any], named: str
) -> None:
    config = ql.QuantizationConfig.from_n_bits(4)
    assert config.departures == ()
    assert config.is_reference
    scheme = getattr(config, part).replace(**change)
    changed = config.replace(**{part: scheme})
    assert changed.departures == (f"{named} of {part}",)
    assert not changed.is_reference
    assert scheme != ql.Scheme(scheme.n_bits)


@given(
    st.integers(2, 16),
    st.floats(-1e3, 1e3, allow_nan=False),
    st.floats(1e-3, 1e3, allow_nan=False),
)
def test_a_grid_of_the_extremes_leaves_out_at_most_half_a_step(
    n_bits: int, low: float, width: float
) -> None:
    """What the words of the min-max estimator say, by the real ends of the grid."""
    values = np.array([low, low + width])
    options = ql.QuantizationOptions(n_bits, is_signed=False, is_symmetric=False)
    array = ql.QuantizedArray(n_bits, values, options=options)
    grid = array.quantizer
    ends = sorted(float(grid.dequant(np.asarray(code))) for code in (grid.qmin, grid.qmax))
    step = abs(float(grid.scale))
    assert max(ends[0] - values[0], values[-1] - ends[1]) <= step / 2 * (1 + 1e-9)
    assert "half a step" in ESTIMATORS["min-max"].explanation
