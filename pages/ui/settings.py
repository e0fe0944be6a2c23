"""The sidebar's controls and the configuration that they say: read, set, and set back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import streamlit as st

from quantlib.analysis.widths.criterion import Criterion
from quantlib.core import config_json
from quantlib.core.config import CALIBRATE_ON, CONVENTIONS, QuantizationConfig
from quantlib.core.estimator import MIN_MAX, Estimator
from quantlib.core.scheme import Scheme
from quantlib.errors import ConfigurationError, QuantlibError

AUTO = "auto"


BITS = (2, 12)


EDGE_BITS = (2, 16)


LIMITS = (4, 32)
"""What the controls can show: widths of weights and activations, of model edges, the limit."""


TRISTATE = {AUTO: None, "yes": True, "no": False}


KEYS = {
    "model": "config.model",
    "output": "config.output",
    "weight_bits": "config.weight_bits",
    "activation_bits": "config.activation_bits",
    "input_bits": "config.input_bits",
    "output_bits": "config.output_bits",
    "weights_signed": "config.weights_signed",
    "weights_symmetric": "config.weights_symmetric",
    "activations_signed": "config.activations_signed",
    "activations_symmetric": "config.activations_symmetric",
    "weights_range": "config.weights_range",
    "weights_per_channel": "config.weights_per_channel",
    "weights_narrow": "config.weights_narrow",
    "weights_power_of_two": "config.weights_power_of_two",
    "activations_range": "config.activations_range",
    "activations_narrow": "config.activations_narrow",
    "activations_power_of_two": "config.activations_power_of_two",
    "calibrate_on": "config.calibrate_on",
    "conventions": "config.conventions",
    "quantize_rest": "config.quantize_rest",
    "overrides": "config.overrides",
    "rounding": "config.rounding",
    "limit": "config.limit",
    "criterion": "config.criterion",
}
"""Widget key of each member; it is also the member's name in a link."""


def criterion() -> Criterion:
    """Return which integers of an accumulator count against the limit."""
    chosen = st.session_state.get(KEYS["criterion"])
    return Criterion(chosen) if chosen in set(Criterion) else Criterion.SEEN


WORST = "the worst"


def output() -> str:
    """Return the model output that was chosen, ``""`` for the worst."""
    chosen = str(st.session_state.get(KEYS["output"]) or WORST)
    return "" if chosen == WORST else chosen


def config(n_bits: int | None = None) -> QuantizationConfig:
    """Return the configuration that the sidebar shows.

    Parameters
    ----------
    n_bits : int, optional
        Width of weights and activations instead of those that it shows.

    Raises
    ------
    OptionsError
        The controls contradict each other.
    """
    value = st.session_state
    weights, activations = (
        _scheme("weights", n_bits or int(value[KEYS["weight_bits"]])),
        _scheme("activations", n_bits or int(value[KEYS["activation_bits"]])),
    )
    default_bits = max(5, activations.n_bits)
    return QuantizationConfig(
        weights=weights,
        activations=activations,
        input_bits=_bits_or(value[KEYS["input_bits"]], default_bits),
        output_bits=_bits_or(value[KEYS["output_bits"]], default_bits),
        rounding_threshold_bits=_bits_or(value[KEYS["rounding"]], None),
        limit_bits=int(value[KEYS["limit"]]),
        calibrate_on=str(value[KEYS["calibrate_on"]] or CALIBRATE_ON[0]),
        overrides=config_json.read_overrides(str(value[KEYS["overrides"]] or "")),
        quantize_rest=TRISTATE[value[KEYS["quantize_rest"]] or AUTO],
        conventions=str(value[KEYS["conventions"]] or CONVENTIONS[0]),
    )


def _scheme(part: str, n_bits: int) -> Scheme:
    """Return what the controls of weights or activations say."""
    value = st.session_state
    return Scheme(
        n_bits,
        TRISTATE[value[KEYS[f"{part}_signed"]] or AUTO],
        TRISTATE[value[KEYS[f"{part}_symmetric"]] or AUTO],
        narrow=bool(value[KEYS[f"{part}_narrow"]]),
        power_of_two=bool(value[KEYS[f"{part}_power_of_two"]]),
        per_channel=part == "weights" and bool(value[KEYS["weights_per_channel"]]),
        estimator=Estimator.parse(str(value[KEYS[f"{part}_range"]] or MIN_MAX.name)),
    )


def _bits_or(chosen: Any, default: Any) -> Any:
    return int(chosen) if str(chosen).isdigit() else default


MAX_HISTORY = 50


def history() -> list[QuantizationConfig]:
    """Return the configurations that adopted ones replaced, the latest last."""
    found: list[QuantizationConfig] = st.session_state.setdefault("state.history", [])
    return found


def undo() -> None:
    """Go back to the configuration before the last adopted one, for use in callbacks."""
    if history():
        _set_controls(history().pop())


def later(chosen: QuantizationConfig) -> None:
    """Adopt a configuration when the script runs next, before its controls are drawn."""
    st.session_state["state.later"] = chosen


def adopt_waiting() -> None:
    """Adopt what `later` left."""
    waiting = st.session_state.pop("state.later", None)
    if waiting is not None:
        adopt(waiting)
    n_bits = st.session_state.pop("state.bits_later", None)
    if n_bits is not None:
        for member in ("weight_bits", "activation_bits"):
            st.session_state[KEYS[member]] = n_bits


def set_bits_later(n_bits: int) -> None:
    """Set both widths when the script runs next, before its controls are drawn."""
    st.session_state["state.bits_later"] = n_bits


def bits_later() -> int | None:
    """Return what `set_bits_later` left and no control shows yet."""
    found: int | None = st.session_state.get("state.bits_later")
    return found


def adopt(chosen: QuantizationConfig) -> None:
    """Make a configuration current: set every control, for use in callbacks."""
    with suppress(QuantlibError, KeyError):  # contradicting controls are no configuration
        _note(config())
    _set_controls(chosen)


def clear_overrides() -> None:
    """Let all layers follow the controls, for use in callbacks; `undo` takes it back."""
    with suppress(QuantlibError, KeyError):
        _note(config())
    st.session_state[KEYS["overrides"]] = ""


def _note(replaced: QuantizationConfig) -> None:
    """Keep what is about to be replaced."""
    history().append(replaced)
    del history()[:-MAX_HISTORY]


def _set_controls(chosen: QuantizationConfig) -> None:
    default_bits = max(5, chosen.activations.n_bits)
    words = {value: word for word, value in TRISTATE.items()}
    settings: dict[str, Any] = {
        "weight_bits": chosen.weights.n_bits,
        "activation_bits": chosen.activations.n_bits,
        "input_bits": AUTO if chosen.input_bits == default_bits else str(chosen.input_bits),
        "output_bits": AUTO if chosen.output_bits == default_bits else str(chosen.output_bits),
        **_scheme_settings("weights", chosen.weights),
        "weights_per_channel": chosen.weights.per_channel,
        **_scheme_settings("activations", chosen.activations),
        "calibrate_on": chosen.calibrate_on,
        "conventions": chosen.conventions,
        "quantize_rest": words[chosen.quantize_rest],
        "overrides": config_json.write_overrides(chosen.overrides),
        "rounding": str(chosen.rounding_threshold_bits or "off"),
        "limit": chosen.limit_bits,
    }
    for member, setting in settings.items():
        st.session_state[KEYS[member]] = setting


def _scheme_settings(part: str, scheme: Scheme) -> dict[str, Any]:
    words = {value: word for word, value in TRISTATE.items()}
    return {
        f"{part}_signed": words[scheme.signed],
        f"{part}_symmetric": words[scheme.symmetric],
        f"{part}_narrow": scheme.narrow,
        f"{part}_power_of_two": scheme.power_of_two,
        f"{part}_range": scheme.estimator.words,
    }


def within_controls(chosen: QuantizationConfig) -> QuantizationConfig:
    """Return a configuration the sidebar can show, or say which member it cannot."""
    low, high = BITS
    widths = {
        "weights.n_bits": chosen.weights.n_bits,
        "activations.n_bits": chosen.activations.n_bits,
    }
    for member, width in widths.items():
        if not low <= width <= high:
            raise ConfigurationError(
                f"$.{member} is {width}; the screens take {low} to {high} bits, the library more."
            )
    edges = {
        "input_bits": chosen.input_bits,
        "output_bits": chosen.output_bits,
        "rounding_threshold_bits": chosen.rounding_threshold_bits or EDGE_BITS[0],
    }
    for member, width in edges.items():
        if not EDGE_BITS[0] <= width <= EDGE_BITS[1]:
            raise ConfigurationError(
                f"$.{member} is {width}; the screens take {EDGE_BITS[0]} to {EDGE_BITS[1]} bits."
            )
    if not LIMITS[0] <= chosen.limit_bits <= LIMITS[1]:
        raise ConfigurationError(
            f"$.limit_bits is {chosen.limit_bits}; the screens take {LIMITS[0]} to {LIMITS[1]}."
        )
    return chosen
