"""The only owner of per-user state: model, data, configuration, pinned configuration, job."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.ui import engine
from pages.ui.home import samples
from quantlib.analysis.widths.criterion import Criterion
from quantlib.core import config_json
from quantlib.core.config import CALIBRATE_ON, CONVENTIONS, QuantizationConfig
from quantlib.core.estimator import MIN_MAX, Estimator
from quantlib.core.scheme import Scheme
from quantlib.errors import ConfigurationError, DataLoadError, QuantlibError

if TYPE_CHECKING:
    from pages.ui.jobs import Job
    from quantlib.analysis.attribution.ledger import ErrorLedger
    from quantlib.analysis.search.fitting import Fit
    from quantlib.analysis.search.search import Progress, SearchResult
    from quantlib.analysis.sweep.result import SweepResult
    from quantlib.export.formats import Proof

DEFAULT_MODEL = "digits_cnn"
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


def first_run() -> bool:
    """Tell, once per session, that nothing has run before."""
    started = "state.started" in st.session_state
    st.session_state["state.started"] = True
    return not started


def uploads() -> dict[str, dict[str, str]]:
    """Return uploaded models: option name to digest and file name."""
    found: dict[str, dict[str, str]] = st.session_state.setdefault("state.uploads", {})
    return found


def add_model(data: bytes, file_name: str) -> str:
    """Check and keep an uploaded model; make it current. Raises what is wrong with it."""
    digest = engine.register(data, name=file_name)
    _check(engine.Source(digest, ""), digest)
    option = f"{file_name} #{digest[:8]}"
    uploads()[option] = {"digest": digest, "name": file_name}
    st.session_state[KEYS["model"]] = option
    return option


def add_data(data: bytes, file_name: str) -> None:
    """Check and keep uploaded data for the current model. Raises what is wrong with it."""
    current = source()
    if current is None:
        raise DataLoadError(f"{file_name}: there is no model yet; upload or choose one first.")
    digest = engine.register(data, name=file_name)
    _check(engine.Source(current.model, digest), digest)
    st.session_state.setdefault("state.data", {})[model_name()] = digest


def _check(candidate: engine.Source, digest: str) -> None:
    """Load what was uploaded; forget its bytes if it is refused."""
    try:
        engine.check(candidate)
    except QuantlibError:
        engine.forget(digest)
        raise


def model_name() -> str:
    """Return the current model's option name."""
    return str(st.session_state.get(KEYS["model"]) or DEFAULT_MODEL)


def sample() -> samples.SampleCard | None:
    """Return the current sample's card, None for an uploaded model."""
    return samples.cards().get(model_name())


def file_name() -> str:
    """Return the current model's name without ending, for downloads."""
    entry = uploads().get(model_name())
    return (entry["name"] if entry else model_name()).removesuffix(".onnx")


def source() -> engine.Source | None:
    """Return what is current; None when a link names a model that was not uploaded here."""
    name = model_name()
    own_data = st.session_state.get("state.data", {}).get(name)
    card = samples.cards().get(name)
    if card is not None:
        model = _sample_digest(f"{name}.onnx", card)
        return engine.Source(model, own_data or _sample_digest(f"{name}.npz", card), output())
    entry = uploads().get(name)
    return engine.Source(entry["digest"], own_data or "", output()) if entry else None


def criterion() -> Criterion:
    """Return which integers of an accumulator count against the limit."""
    chosen = st.session_state.get(KEYS["criterion"])
    return Criterion(chosen) if chosen in set(Criterion) else Criterion.SEEN


WORST = "the worst"


def output() -> str:
    """Return the model output that was chosen, ``""`` for the worst."""
    chosen = str(st.session_state.get(KEYS["output"]) or WORST)
    return "" if chosen == WORST else chosen


def _sample_digest(file_name: str, card: samples.SampleCard) -> str:
    """Register a sample's file once per session."""
    known: dict[str, str] = st.session_state.setdefault("state.samples", {})
    if file_name not in known:
        content = card.model_bytes if file_name.endswith(".onnx") else card.data_bytes
        name = card.name if file_name.endswith(".onnx") else file_name
        known[file_name] = engine.register(content, name=name)
    return known[file_name]


def config() -> QuantizationConfig:
    """Return the configuration that the sidebar shows.

    Raises
    ------
    OptionsError
        The controls contradict each other.
    """
    value = st.session_state
    weights, activations = (
        _scheme("weights", "weight_bits"),
        _scheme("activations", "activation_bits"),
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


def _scheme(part: str, bits: str) -> Scheme:
    """Return what the controls of weights or activations say."""
    value = st.session_state
    return Scheme(
        int(value[KEYS[bits]]),
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


def say(screen: str, *, done: bool, words: str) -> None:
    """Leave a message on a screen; it stays until another one or another screen."""
    st.session_state["state.message"] = (screen, done, words)


def message(screen: str) -> tuple[bool, str] | None:
    """Return the message of a screen: whether something was done, and the words."""
    kept = st.session_state.get("state.message")
    return kept[1:] if kept and kept[0] == screen else None


def forget_message(screen: str) -> None:
    """Drop a message that was left on another screen."""
    if message(screen) is None:
        st.session_state.pop("state.message", None)


def pinned() -> QuantizationConfig | None:
    """Return configuration B."""
    return st.session_state.get("state.pinned")


def pin(chosen: QuantizationConfig | None) -> None:
    """Keep a configuration as B, or forget it."""
    st.session_state["state.pinned"] = chosen


def search_job() -> Job[Progress | SearchResult] | None:
    """Return the search over widths that was started last."""
    return st.session_state.get("state.search")


def keep_search(started: Job[Progress | SearchResult]) -> None:
    """Remember a search; an earlier one is cancelled."""
    previous = search_job()
    if previous is not None:
        previous.cancel()
    st.session_state["state.search"] = started


def job() -> Job[SweepResult] | None:
    """Return the sweep that was started last."""
    return st.session_state.get("state.job")


def keep_job(started: Job[SweepResult]) -> None:
    """Remember a sweep; an earlier one is cancelled."""
    previous = job()
    if previous is not None:
        previous.cancel()
    st.session_state["state.job"] = started


def fit_job() -> Job[Progress | Fit] | None:
    """Return the search for what makes everything fit that was started last."""
    return st.session_state.get("state.fit")


def keep_fit(started: Job[Progress | Fit]) -> None:
    """Remember such a search; an earlier one is cancelled."""
    previous = fit_job()
    if previous is not None:
        previous.cancel()
    st.session_state["state.fit"] = started


def proof_job() -> Job[Proof] | None:
    """Return the proof of an export that was started last."""
    return st.session_state.get("state.proof")


def keep_proof(started: Job[Proof]) -> None:
    """Remember a proof; an earlier one is cancelled."""
    previous = proof_job()
    if previous is not None:
        previous.cancel()
    st.session_state["state.proof"] = started


def ledger_job() -> Job[ErrorLedger] | None:
    """Return the error ledger that was started last."""
    return st.session_state.get("state.ledger_job")


def keep_ledger_job(started: Job[ErrorLedger]) -> None:
    """Remember an error ledger; an earlier one is cancelled."""
    previous = ledger_job()
    if previous is not None:
        previous.cancel()
    st.session_state["state.ledger_job"] = started
