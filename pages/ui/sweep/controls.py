"""The controls of a sweep: which values each choice takes, and how long that takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.ui import engine, frame, settings, state
from quantlib.analysis.sweep.grid import SweepGrid
from quantlib.analysis.sweep.run import split_known
from quantlib.core.config import CALIBRATE_ON
from quantlib.core.estimator import ESTIMATORS, WEIGHT_ESTIMATORS, Estimator
from quantlib.errors import DataLoadError, QuantlibError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pages.ui.current import Current
    from pages.ui.jobs import Job
    from quantlib.analysis.sweep.result import SweepResult
    from quantlib.core.config import QuantizationConfig

MAX_UPLOAD_BYTES = 64 * 2**20

_BITS = list(range(2, 9))
_WORDS = list(settings.TRISTATE)
_EDGES = [settings.AUTO, *map(str, range(3, 13))]
_ROUNDING = ["off", *map(str, range(3, 13))]
_RANGES = {"weights": list(WEIGHT_ESTIMATORS), "activations": list(ESTIMATORS)}


def declared() -> SweepGrid:
    """Draw the chips and return the grid that they declare."""
    weight_bits = _chips("Weight bits", _BITS, _BITS, "weight_bits", "Widths of weights to try.")
    activation_bits = _chips(
        "Activation bits", _BITS, _BITS, "activation_bits", "Widths of activations to try."
    )
    with st.expander("Signed and symmetric"):
        signs: dict[str, Any] = {
            member: _tristates(part, choice, member)
            for part in ("Weights", "Activations")
            for choice in ("signed", "symmetric")
            if (member := f"{part.lower()}_{choice}")
        }
    with st.expander("Ranges, channels, edges, rounding"):
        st.caption("Nothing chosen: as set in the sidebar.")
        ranges: dict[str, Any] = {
            f"{part}_estimator": _chips(
                f"Range of {part}",
                _RANGES[part],
                [],
                f"{part}_estimator",
                "Which part of the values a grid covers; parameters at their defaults.",
            )
            for part in ("weights", "activations")
        }
        per_channel = _chips(
            "Weights per channel",
            ["yes", "no"],
            [],
            "weights_per_channel",
            "One grid per output channel, or one per tensor.",
        )
        input_bits = _chips(
            "Input bits", _EDGES, [settings.AUTO], "input_bits", "Auto: max(5, activation bits)."
        )
        output_bits = _chips(
            "Output bits",
            _EDGES,
            [settings.AUTO],
            "output_bits",
            "Auto: max(5, activation bits). Fewer bits than the activations contradict them.",
        )
        rounding = _chips(
            "Rounding threshold (bits)",
            _ROUNDING,
            [],
            "rounding",
            "Accumulators wider than this lose their lowest bits before the table look-up.",
        )
        calibrate_on = _chips(
            "Measure activations on",
            list(CALIBRATE_ON),
            [],
            "calibrate_on",
            "Outputs of the quantized operators before (Concrete ML), or the float model's.",
        )
    members: dict[str, Any] = {
        **{
            member: tuple(settings.TRISTATE[word] for word in words)
            for member, words in signs.items()
        },
        **{member: _given([Estimator(name) for name in names]) for member, names in ranges.items()},
    }
    return SweepGrid(
        weight_bits=tuple(weight_bits),
        activation_bits=tuple(activation_bits),
        weights_per_channel=_given([word == "yes" for word in per_channel]),
        input_bits=_given([_width(word) for word in input_bits]) or (None,),
        output_bits=_given([_width(word) for word in output_bits]) or (None,),
        rounding_threshold_bits=_given([_width(word) for word in rounding]),
        calibrate_on=_given(calibrate_on),
        **members,
    )


def configurations(
    current: Current, known: Sequence[SweepResult]
) -> tuple[QuantizationConfig, ...]:
    """Draw the controls, say what they come to, and return the configurations."""
    grid = declared()
    configs: tuple[QuantizationConfig, ...] = ()
    with frame.shown_errors():
        expansion = grid.expand(current.config)
        configs = expansion.configs
        st.markdown(f"{len(configs)} configurations")
        there, missing = split_known(configs, known)
        parts = [f"about {_duration(len(missing) * _pace(current))}"] if missing else []
        if there:
            parts.append(f"{len(there)} are known already")
        if expansion.left_out:
            parts.append(f"{expansion.left_out} left out, they contradict themselves")
        reasons = "; ".join(f"{why} ({count})" for why, count in expansion.contradictions)
        st.caption("; ".join(parts), help=reasons or None)
    return configs


def results_upload(current: Current) -> None:
    """Draw what takes a results file, and what it left to say."""

    def resume() -> None:
        """Take the file; what was there before stays if it is refused."""
        file = st.session_state["sweep.file"]
        if file is None:
            return
        try:
            if file.size > MAX_UPLOAD_BYTES:
                limit = MAX_UPLOAD_BYTES // 2**20
                raise DataLoadError(f"{file.name}: above {limit} MiB; give fewer results.")
            kept = engine.kept_results(current.source, file.getvalue(), name=file.name)
            state.keep_job(kept)
            state.say("sweep", done=True, words=f"{file.name}: {kept.done} results are here.")
        except QuantlibError as error:
            state.say("sweep", done=False, words=str(error))

    with st.expander("Continue from a file"):
        st.file_uploader(
            "Results (.jsonl, .csv)",
            key="sweep.file",
            on_change=resume,
            type=["jsonl", "csv"],
            help="A file from this screen or from `quantlib sweep --out`, of the same model and "
            "data. Start then computes only what it lacks.",
        )
    frame.show_message("sweep")


def _pace(current: Current) -> float:
    """Return the seconds that one configuration takes, as measured here."""
    job: Job[SweepResult] | None = state.job()
    measured = job.seconds_each if job is not None and job.source == current.source else None
    return measured or engine.seconds_each(current.source, current.config)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min"


def _chips(label: str, options: list[Any], default: list[Any], name: str, why: str) -> list[Any]:
    """Draw a row of chips; each chosen one multiplies the grid."""
    chosen: list[Any] = st.pills(
        label,
        options,
        default=default,
        selection_mode="multi",
        key=f"sweep.{name}",
        bind="query-params",
        help=why,
    )
    return chosen


def _tristates(part: str, choice: str, name: str) -> list[Any]:
    rule = "Auto is Concrete ML's rule. Symmetric but unsigned contradicts itself and is left out."
    return _chips(f"{part} {choice}", _WORDS, [settings.AUTO], name, rule)


def _given(values: list[Any]) -> tuple[Any, ...] | None:
    """Return chosen values; nothing chosen leaves the sidebar's choice."""
    return tuple(values) or None


def _width(word: str) -> int | None:
    return int(word) if word.isdigit() else None
