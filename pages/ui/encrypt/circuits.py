"""What the compiler says: the circuit, its simulation, a sample that was truly encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.ui import engine, state, tables, text
from quantlib import wording
from quantlib.fhe.circuit import CircuitReport
from quantlib.questions import encrypt as questions

if TYPE_CHECKING:
    from pages.ui.current import Current
    from pages.ui.encrypt.choice import Choice
    from pages.ui.jobs import Job
    from quantlib.fhe.widths import Prediction
    from quantlib.questions.encrypt import Told

COMMAND = "uv run --no-dev --extra app --extra fhe streamlit run app.py"
"""How the app is started with the compiler."""

SIMULATED = 50
"""Evaluation samples that are simulated."""

EVERY_S = 0.5
"""How often a running job is drawn again, s."""


def draw(current: Current, chosen: Choice, predicted: Prediction, *, compiler: bool) -> None:
    """Offer to compile, and draw what came of it."""
    st.subheader("Compiled", anchor=False)
    if not compiler:
        st.info(
            "Concrete, which compiles for encryption, is not installed here. It runs on x86-64 "
            "Linux and macOS with Python up to 3.12, and wants NumPy below 2. Start the explorer "
            f"with it: `{COMMAND}`"
        )
        return
    job = _job(current, chosen)
    watched = job is not None and job.running
    st.fragment(_circuit, run_every=EVERY_S if watched else None)(
        current, chosen, predicted, watched=watched
    )


def _label(current: Current, chosen: Choice) -> object:
    return (current.source, current.config, chosen)


def _job(current: Current, chosen: Choice) -> Job[Told] | None:
    job = state.circuit_job()
    return job if job is not None and job.source == _label(current, chosen) else None


def _start(current: Current, chosen: Choice, encrypted: int) -> None:
    state.keep_circuit(
        engine.begin(
            current.source,
            questions.circuit,
            (
                (current.config, chosen.rounding, chosen.p_error),
                {"on_data": chosen.on_data, "simulated": SIMULATED, "encrypted": encrypted},
            ),
            total=1,
            label=_label(current, chosen),
        )
    )


def _circuit(current: Current, chosen: Choice, predicted: Prediction, *, watched: bool) -> None:
    """Draw the buttons and the results; `watched` tells whether this is drawn again and again."""
    job = _job(current, chosen)
    running = job is not None and job.running
    left, right = st.columns(2)
    left.button(
        "Compile and simulate",
        key="encrypt.compile",
        type="primary",
        disabled=running,
        on_click=_start,
        args=(current, chosen, 0),
        width="stretch",
        help=f"Compiles, and simulates the first {SIMULATED} evaluation samples.",
    )
    right.button(
        "Also encrypt one sample",
        key="encrypt.run",
        disabled=running,
        on_click=_start,
        args=(current, chosen, 1),
        width="stretch",
        help="Makes keys, encrypts the first evaluation sample, runs and decrypts it. Keys take "
        "minutes, and a run too, where integers are wide.",
    )
    if job is None:
        return
    if running and not watched:
        st.rerun()
    if running:
        st.progress(0, text=f"{_doing(job)}: {job.elapsed_s:.0f} s")
        st.button(
            "Cancel",
            key="encrypt.cancel",
            on_click=job.cancel,
            help="Takes effect when the present step of Concrete ends.",
        )
    elif watched:
        st.rerun()
    if job.error:
        st.error(text.plain(job.error, limit=800))
    elif job.cancelled and not running:
        st.warning("Cancelled; what is done stays.")
    for found in _shown(job):
        if isinstance(found, CircuitReport):
            _report(found, predicted)
        elif isinstance(found, questions.Result):
            _simulated(found)
        else:
            _sample(found)


def _doing(job: Job[Told]) -> str:
    """Say which step is running."""
    if not job.results:
        return "Compiling"
    last = job.results[-1]
    if isinstance(last, questions.Result) and last.samples < SIMULATED:
        return f"Simulating, {last.samples} samples done"
    return "Simulating, or making keys and running encrypted"


def _shown(job: Job[Told]) -> list[Told]:
    """Return the latest of each kind."""
    latest: dict[type, Told] = {type(found): found for found in list(job.results)}
    return list(latest.values())


def _report(found: CircuitReport, predicted: Prediction) -> None:
    table = pd.DataFrame(
        {
            "layer": [layer.layer for layer in found.layers],
            "held in, predicted (bits)": [layer.held_bits for layer in predicted.layers],
            "held in, compiled (bits)": [layer.held_bits for layer in found.layers],
            "bootstraps, predicted": [layer.n_bootstraps for layer in predicted.layers],
            "bootstraps, compiled": [found.counted.get(layer.layer, 0) for layer in found.layers],
        }
    )
    tables.show(table, alt="Predicted against compiled widths and bootstraps of each layer.")
    st.markdown(
        f"{found.n_bootstraps:,} bootstraps (predicted {predicted.n_bootstraps:,}), "
        f"{found.complexity:.2e} operations (predicted {predicted.complexity:.2e}); compiled in "
        f"{wording.seconds(found.compile_s)}. Keys {wording.size(found.bootstrap_key_bytes)} for "
        f"bootstraps and {wording.size(found.keyswitch_key_bytes)} for key switches; ciphertexts "
        f"{wording.size(found.input_bytes)} in, {wording.size(found.output_bytes)} out."
    )


def _simulated(found: questions.Result) -> None:
    scored = ""
    if found.score is not None and found.exact_score is not None:
        scored = (
            f" {found.score.name} {found.score.quantized_value:.3f}, on the screens "
            f"{found.exact_score.quantized_value:.3f}."
        )
    (st.success if found.equal_samples == found.samples else st.warning)(
        f"Simulated: {found.equal_samples} of {found.samples} samples have every integer of the "
        f"screens.{scored}"
    )


def _sample(found: questions.Sample) -> None:
    (st.success if found.is_equal else st.error)(
        f"Encrypted: {'every integer is' if found.is_equal else 'not every integer is'} that of "
        f"the screens. Keys {wording.seconds(found.keys_s)}, encrypt "
        f"{wording.seconds(found.encrypt_s)}, run {wording.seconds(found.run_s)}, decrypt "
        f"{wording.seconds(found.decrypt_s)}."
    )
    table = pd.DataFrame({
        "decrypted": found.integers, "on the screens": found.expected, "value": found.values,
    })  # fmt: skip
    tables.show(table, alt="Decrypted integers beside those of the screens.")
