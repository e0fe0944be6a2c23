"""The only owner of what a person has here: model, data, pinned configuration, jobs, messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui import engine, settings
from pages.ui.home import samples
from quantlib.core.config_code import config_code, read_config_code
from quantlib.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pages.ui.jobs import Job
    from quantlib.analysis.attribution.ledger import ErrorLedger
    from quantlib.analysis.search.fitting import Fit
    from quantlib.analysis.search.search import Progress, SearchResult
    from quantlib.analysis.sweep.result import SweepResult
    from quantlib.core.config import QuantizationConfig
    from quantlib.export.formats import Proof
    from quantlib.fhe.circuit import CircuitReport
    from quantlib.questions.encrypt import Result, Sample
    from quantlib.questions.first_minute import Answers

DEFAULT_MODEL = "digits_cnn"


def first_run() -> bool:
    """Tell, once per session, that nothing has run before."""
    started = "state.started" in st.session_state
    st.session_state["state.started"] = True
    return not started


def uploads() -> dict[str, dict[str, str]]:
    """Return uploaded models: option name to digest and file name."""
    found: dict[str, dict[str, str]] = st.session_state.setdefault("state.uploads", {})
    return found


def adopt_model(digest: str, file_name: str) -> None:
    """Make an uploaded model current."""
    option = f"{file_name} #{digest[:8]}"
    uploads()[option] = {"digest": digest, "name": file_name}
    st.session_state[settings.KEYS["model"]] = option


def adopt_data(digest: str, option: str) -> None:
    """Let a model run on uploaded data from now on."""
    st.session_state.setdefault("state.data", {})[option] = digest


def drop(digest: str) -> None:
    """Forget bytes that were refused, unless something here runs on them."""
    models = {entry["digest"] for entry in uploads().values()}
    if digest not in {*models, *st.session_state.get("state.data", {}).values()}:
        engine.forget(digest)


def model_name() -> str:
    """Return the current model's option name."""
    return str(st.session_state.get(settings.KEYS["model"]) or DEFAULT_MODEL)


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
        return engine.Source(
            model, own_data or _sample_digest(f"{name}.npz", card), settings.output()
        )
    entry = uploads().get(name)
    return engine.Source(entry["digest"], own_data or "", settings.output()) if entry else None


def _sample_digest(file_name: str, card: samples.SampleCard) -> str:
    """Register a sample's file once per session."""
    known: dict[str, str] = st.session_state.setdefault("state.samples", {})
    if file_name not in known:
        content = card.model_bytes if file_name.endswith(".onnx") else card.data_bytes
        name = card.name if file_name.endswith(".onnx") else file_name
        known[file_name] = engine.register(content, name=name)
    return known[file_name]


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


PINNED = "config.b"
"""Key of configuration B's code, and its name in a link."""


def pinned() -> QuantizationConfig | None:
    """Return configuration B; None without one, or when a link holds no code of one."""
    try:
        return pinned_or_raise()
    except ConfigurationError:
        return None


def pinned_or_raise() -> QuantizationConfig | None:
    """Return configuration B; raises what is wrong with its code."""
    code = str(st.session_state.get(PINNED) or "").strip()
    return read_config_code(code) if code else None


def pin(chosen: QuantizationConfig | None) -> None:
    """Keep a configuration as B, or forget it, for use in callbacks."""
    st.session_state[PINNED] = "" if chosen is None else config_code(chosen)


def is_sample_data() -> bool:
    """Tell whether the current model runs on data that came with a sample."""
    return sample() is not None and model_name() not in st.session_state.get("state.data", {})


def back_to_sample() -> None:
    """Leave uploaded data, or an uploaded model, for the sample; for use in callbacks."""
    if sample() is None:
        st.session_state[settings.KEYS["model"]] = DEFAULT_MODEL
    else:
        st.session_state.get("state.data", {}).pop(model_name(), None)


def ahead_job() -> Job[Answers] | None:
    """Return the answers that Home computes ahead."""
    return st.session_state.get("state.ahead")


def keep_ahead(started: Job[Answers]) -> None:
    """Remember such answers; earlier ones are cancelled."""
    previous = ahead_job()
    if previous is not None:
        previous.cancel()
    st.session_state["state.ahead"] = started


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


def planned() -> frozenset[tuple[int, int]]:
    """Return the widths of weights and activations that the last sweep was started for."""
    found: frozenset[tuple[int, int]] = st.session_state.get("state.planned", frozenset())
    return found


def plan(configs: Sequence[QuantizationConfig]) -> None:
    """Remember which widths a sweep is started for: its map is whole from the start."""
    widths = ((c.weights.n_bits, c.activations.n_bits) for c in configs)
    st.session_state["state.planned"] = frozenset(widths)


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


def circuit_job() -> Job[CircuitReport | Result | Sample] | None:
    """Return the encrypted circuit that was started last."""
    return st.session_state.get("state.circuit")


def keep_circuit(started: Job[CircuitReport | Result | Sample]) -> None:
    """Remember an encrypted circuit; an earlier one is cancelled."""
    previous = circuit_job()
    if previous is not None:
        previous.cancel()
    st.session_state["state.circuit"] = started


def ledger_job() -> Job[ErrorLedger] | None:
    """Return the error ledger that was started last."""
    return st.session_state.get("state.ledger_job")


def keep_ledger_job(started: Job[ErrorLedger]) -> None:
    """Remember an error ledger; an earlier one is cancelled."""
    previous = ledger_job()
    if previous is not None:
        previous.cancel()
    st.session_state["state.ledger_job"] = started
