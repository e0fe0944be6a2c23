"""Tables of the Compare screen; each stands beside a figure and can be downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pandas as pd

from quantlib import wording
from quantlib.analysis.attribution.ledger import ErrorSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from quantlib.analysis.attribution.ledger import ErrorLedger
    from quantlib.analysis.reports import Evaluation, Score
    from quantlib.arrays import FloatArray
    from quantlib.core.metrics import Divergence
    from quantlib.questions.compare import Decisions

_V = TypeVar("_V")

DIVERGENCE = "Mean of Σ p ln(p / q) over the samples (Kullback-Leibler), {whose}; 0 is the same."

HOW_TO_READ = {
    "SQNR (dB)": "Signal over noise, 10 log10(Σy² / Σ(y − ŷ)²): 6 dB more is one bit more.",
    "mean squared error": "Average of (ŷ − y)², in output units²; the ledger divides it up.",
    "largest error": "The worst single output, in output units.",
    "standard deviation of the error": "Spread of ŷ − y, in output units; compare with step / √12.",
    "step / √12": "The spread if only the output were rounded: what is beyond it, layers add.",
    "cosine": "Angle between all outputs: 1 is the same direction; blind to a common factor.",
    "same class as float": "Samples whose largest output stays the same, with the 95 % interval "
    "(Wilson) of that share; needs no labels.",
    "accuracy": "Share of right answers by the labels, with its 95 % interval (Wilson).",
    "R²": "Against the labels: 1 is perfect, 0 no better than their mean.",
    "widest accumulator (bits)": "The largest integer any layer sums up to on the data.",
    "weights (bytes)": "Quantized constants at their widths; biases keep 32 bits.",
}


def divergence_explained(found: Divergence) -> str:
    """Return what a divergence is the mean of."""
    whose = (
        "p and q the outputs themselves, which are probabilities"
        if found.of_probabilities
        else "p and q the softmax of the outputs"
    )
    return DIVERGENCE.format(whose=whose)


def measures(sides: Mapping[str, Evaluation]) -> pd.DataFrame:
    """Return one row per measure, one column per configuration, and how to read it."""
    found = list(sides.values())
    rows: dict[str, list[str | None]] = {
        "SQNR (dB)": [wording.number(e.sqnr_db) for e in found],
        "mean squared error": [wording.number(e.mse) for e in found],
        "largest error": [wording.number(e.max_error) for e in found],
        "standard deviation of the error": [wording.number(e.error_std) for e in found],
        "step / √12": [_if_any(e.rounding_std, wording.number) for e in found],
        "cosine": [wording.number(e.cosine) for e in found],
        "same class as float": [_with_interval(e.agreement, e.agreement_interval) for e in found],
        "divergence (nats)": [
            _if_any(e.divergence, lambda apart: wording.number(apart.nats)) for e in found
        ],
    }
    scored = next((e.score.name for e in found if e.score), None)
    if scored is not None:
        rows[scored] = [_if_any(e.score, _score) for e in found]
    rows |= {
        "widest accumulator (bits)": [
            _if_any(e.widest, lambda layer: wording.whole(layer.width_bits)) for e in found
        ],
        "weights (bytes)": [f"{e.weight_bytes:,}" for e in found],
    }
    kept = {name: values for name, values in rows.items() if any(v is not None for v in values)}
    columns: dict[str, list[str]] = {"measure": list(kept)}
    for i, side in enumerate(sides):
        columns[side] = [values[i] or wording.NOTHING for values in kept.values()]
    apart = next((e.divergence for e in found if e.divergence), None)
    explained = HOW_TO_READ | (
        {} if apart is None else {"divergence (nats)": divergence_explained(apart)}
    )
    columns["how to read it"] = [explained[name] for name in kept]
    return pd.DataFrame(columns)


def _if_any(value: _V | None, words: Callable[[_V], str]) -> str | None:
    return None if value is None else words(value)


def _with_interval(value: float | None, ends: tuple[float, float] | None) -> str | None:
    if value is None or ends is None:
        return _if_any(value, wording.share)
    return f"{wording.share(value)} ({wording.share_interval(ends)})"


def _score(found: Score) -> str:
    value = wording.score(found.quantized_value, name=found.name)
    ends = found.intervals
    return value if ends is None else f"{value} ({wording.share_interval(ends[1])})"


def pairs(before: FloatArray, after: FloatArray, first: str, second: str) -> pd.DataFrame:
    """Return the outputs that a scatter draws, largest differences first."""
    table = pd.DataFrame({first: before, second: after})
    table["difference"] = table[second] - table[first]
    order = table["difference"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order]


def errors(found: Evaluation) -> pd.DataFrame:
    """Return the bins of an error histogram."""
    return pd.DataFrame(
        {"from": found.error_edges[:-1], "to": found.error_edges[1:], "outputs": found.error_counts}
    )


def nodes(sides: Mapping[str, Evaluation]) -> pd.DataFrame:
    """Return the SQNR of each node's output under each configuration, in dB."""
    layers = next(iter(sides.values())).layers
    table = pd.DataFrame(
        {
            "node": [layer.name for layer in layers],
            "operator": [layer.op_type for layer in layers],
            "treatment": [layer.treatment for layer in layers],
        }
    )
    for side, found in sides.items():
        table[f"SQNR of {side} (dB)"] = [layer.sqnr_db for layer in found.layers]
    return table


def margins(found: Decisions) -> pd.DataFrame:
    """Return the bins of the margin."""
    return pd.DataFrame(
        {
            "margin from": [b.low for b in found.margins],
            "to": [b.high for b in found.margins],
            "samples": [b.n_samples for b in found.margins],
            "same class": [b.n_agree for b in found.margins],
            "same class (%)": [100 * b.agreement for b in found.margins],
        }
    )


def title_of(number: int | None, names: Sequence[str] | None) -> str:
    """Return a class in words: its name where it is known, else its number."""
    if number is None:
        return wording.NOTHING
    return names[number] if names is not None and number < len(names) else str(number)


def classes(found: Decisions, names: Sequence[str] | None) -> pd.DataFrame:
    """Return one row per class that changes."""
    what = "right" if found.by_label else "answered with it"
    return pd.DataFrame(
        {
            "class": [title_of(int(number), names) for number in found.classes],
            "samples": found.samples,
            f"{what} before": found.right_before,
            f"{what} after": found.right_after,
            "change": found.right_after - found.right_before,
        }
    )


def flips(found: Decisions, names: Sequence[str] | None) -> pd.DataFrame:
    """Return one row per sample whose class changes."""
    table = pd.DataFrame(
        {
            "sample": [flip.sample for flip in found.flips],
            "label": [title_of(flip.label, names) for flip in found.flips],
            "float class": [title_of(flip.float_class, names) for flip in found.flips],
            "quantized class": [title_of(flip.quantized_class, names) for flip in found.flips],
            "float margin": [flip.float_margin for flip in found.flips],
            "quantized margin": [flip.quantized_margin for flip in found.flips],
        }
    )
    if found.diverges:
        table["diverges at"] = [
            found.diverges.get(flip.sample, wording.NOTHING) for flip in found.flips
        ]
    return table


def ledger(found: ErrorLedger) -> pd.DataFrame:
    """Return one row per place and source, and the sum."""
    total = found.mse or 1.0
    entries = found.entries
    alone = found.explained - found.interaction
    return pd.DataFrame(
        {
            "place": [*(e.place for e in entries), "sum"],
            "source": [*(str(e.source) for e in entries), "all"],
            "share (output units²)": [*(e.share for e in entries), found.explained],
            "share (%)": [100 * s / total for s in (*(e.share for e in entries), found.explained)],
            "alone (output units²)": [*(e.alone for e in entries), alone],
            "interaction (output units²)": [*(e.interaction for e in entries), found.interaction],
        }
    )


def sources(found: ErrorLedger) -> str:
    """Return the sources' parts of the whole error, largest first, in words."""
    shares = {source: 100 * found.total_of(source) / (found.mse or 1.0) for source in ErrorSource}
    ranked = sorted(shares.items(), key=lambda pair: -abs(pair[1]))
    named = [f"{source} {share:.0f} %" for source, share in ranked if abs(share) >= 0.5]
    return ", ".join(named) or "no source stands out"
