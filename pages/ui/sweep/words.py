"""What a sweep varies and finds, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from quantlib import wording
from quantlib.analysis.sweep.measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quantlib.analysis.sweep.measures import Measure
    from quantlib.analysis.sweep.result import SweepResult
    from quantlib.core.config import QuantizationConfig


@dataclass(frozen=True, slots=True)
class Axis:
    """A choice that a sweep can vary.

    Parameters
    ----------
    label : str
        What the sidebar and the table call it.
    of : callable
        Reads the choice from a configuration: a number, or a word.
    """

    label: str
    of: Callable[[QuantizationConfig], int | str]


AXES = (
    Axis("weight bits", lambda c: c.weights.n_bits),
    Axis("activation bits", lambda c: c.activations.n_bits),
    Axis("input bits", lambda c: c.input_bits),
    Axis("output bits", lambda c: c.output_bits),
    Axis("weights signed", lambda c: wording.TRISTATE[c.weights.signed]),
    Axis("weights symmetric", lambda c: wording.TRISTATE[c.weights.symmetric]),
    Axis("weights per channel", lambda c: wording.TRISTATE[c.weights.per_channel]),
    Axis("range of weights", lambda c: c.weights.estimator.words),
    Axis("activations signed", lambda c: wording.TRISTATE[c.activations.signed]),
    Axis("activations symmetric", lambda c: wording.TRISTATE[c.activations.symmetric]),
    Axis("range of activations", lambda c: c.activations.estimator.words),
    Axis("rounding (bits)", lambda c: c.rounding_threshold_bits or "off"),
    Axis("calibrated on", lambda c: c.calibrate_on),
)
"""Every choice, in the order of the sidebar."""

_EDGES = tuple(entry for entry in AXES if entry.label in ("input bits", "output bits"))


def axis(label: str) -> Axis:
    """Return the axis of a label, the first for an unknown one."""
    return next((entry for entry in AXES if entry.label == label), AXES[0])


def varied(results: Sequence[SweepResult]) -> tuple[Axis, ...]:
    """Return the axes on which results differ; model edges that only follow are not among them."""
    found = [a for a in AXES if len({a.of(result.config) for result in results}) > 1]
    return tuple(a for a in found if a not in _EDGES or not _follows(a, results))


def _follows(edge: Axis, results: Sequence[SweepResult]) -> bool:
    """Tell whether each width of the activations comes with one width of an edge."""
    pairs = {(r.config.activations.n_bits, edge.of(r.config)) for r in results}
    return len(pairs) == len({bits for bits, _ in pairs})


def ordered(values: set[int | str]) -> list[int | str]:
    """Return values in the order of an axis: words first, then numbers ascending."""
    return sorted(
        values, key=lambda v: (isinstance(v, int), v if isinstance(v, int) else 0, str(v))
    )


def differences(config: QuantizationConfig, current: QuantizationConfig) -> list[str]:
    """Return what changes from the current configuration: "weight bits 4 → 6"."""
    found = [
        f"{entry.label} {entry.of(current)} → {entry.of(config)}"
        for entry in AXES
        if entry.of(config) != entry.of(current)
    ]
    if config.overrides != current.overrides:
        found.append(f"layers with an override {len(current.overrides)} → {len(config.overrides)}")
    here, there = (dict(wording.choices(chosen)) for chosen in (current, config))
    return found or [
        f"{name} {here.get(name, wording.NOTHING)} → {there.get(name, wording.NOTHING)}"
        for name in here | there
        if here.get(name) != there.get(name)
    ]


def label(entry: Measure, score_name: str) -> str:
    """Return what a measure is called; the score goes by its own name."""
    return score_name if entry.member == "score" else entry.label


def hover(result: SweepResult, shown: Sequence[Measure], score_name: str) -> str:
    """Return what a chart says about a result: its widths, what is drawn, whether it fits."""
    config = result.config
    lines = [f"weights {config.weights.n_bits} bits, activations {config.activations.n_bits} bits"]
    members = dict.fromkeys([*(m.member for m in shown), "widest_seen_bits", "headroom_bits"])
    for member in members:
        entry = MEASURES[member]
        name = label(entry, score_name).removesuffix(" (bits)").removesuffix(" (dB)")
        lines.append(f"{name}: {wording.figure(entry, entry.of(result), score_name)}")
    return "<br>".join(lines)


def compared(result: SweepResult, other: SweepResult | None, score_name: str) -> pd.DataFrame:
    """Return the figures of a result beside those of the current configuration."""

    def figures(of: SweepResult) -> list[str]:
        return [wording.figure(entry, entry.of(of), score_name) for entry in MEASURES.values()]

    columns: dict[str, Any] = {
        "figure": [label(entry, score_name) for entry in MEASURES.values()],
        "selected": figures(result),
    }
    if other is not None:
        columns["current"] = figures(other)
    return pd.DataFrame(columns)


def table(results: Sequence[SweepResult], score_name: str) -> pd.DataFrame:
    """Return one row per configuration: what varies, the figures, then what does not vary."""
    varying = dict.fromkeys([*AXES[:2], *varied(results)])
    columns: dict[str, Any] = {a.label: [a.of(r.config) for r in results] for a in varying}
    for member, entry in MEASURES.items():
        name = "widest (bits)" if member == "widest_seen_bits" else label(entry, score_name)
        values: Any = [entry.of(result) for result in results]
        columns[name] = pd.array(values, dtype="Int64" if entry.kind.is_whole else "Float64")
    columns |= {a.label: [a.of(r.config) for r in results] for a in AXES if a not in varying}
    rounding = AXES[-2].label
    columns[rounding] = [str(value) for value in columns[rounding]]
    return pd.DataFrame(columns)
