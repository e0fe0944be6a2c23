"""Tables of the Compare screen; each stands beside a figure and can be downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from quantlib import wording
from quantlib.analysis.attribution.ledger import ErrorSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.analysis.attribution.ledger import ErrorLedger
    from quantlib.analysis.reports import Evaluation
    from quantlib.arrays import FloatArray
    from quantlib.questions.compare import Decisions

HOW_TO_READ = {
    "SQNR (dB)": "Signal over noise, 10 log10(Σy² / Σ(y − ŷ)²): 6 dB more is one bit more.",
    "mean squared error": "Average of (ŷ − y)², in output units²; the ledger divides it up.",
    "largest error": "The worst single output, in output units.",
    "standard deviation of the error": "Spread of ŷ − y, in output units; compare with step / √12.",
    "step / √12": "The spread if only the output were rounded: what is beyond it, layers add.",
    "cosine": "Angle between all outputs: 1 is the same direction; blind to a common factor.",
    "same class as float (%)": "Samples whose largest output stays the same; needs no labels.",
    "score": "Against the labels: accuracy (share of right answers) or R² (1 is perfect).",
    "widest accumulator (bits)": "The largest integer any layer sums up to.",
    "weights (bytes)": "Quantized constants at their widths; biases keep 32 bits.",
}


def measures(sides: Mapping[str, Evaluation]) -> pd.DataFrame:
    """Return one row per measure, one column per configuration, and how to read it."""
    rows: dict[str, list[float | None]] = {
        "SQNR (dB)": [e.sqnr_db for e in sides.values()],
        "mean squared error": [e.mse for e in sides.values()],
        "largest error": [e.max_error for e in sides.values()],
        "standard deviation of the error": [e.error_std for e in sides.values()],
        "step / √12": [abs(e.output_step) / 12**0.5 for e in sides.values()],
        "cosine": [e.cosine for e in sides.values()],
        "same class as float (%)": [
            None if e.agreement is None else 100 * e.agreement for e in sides.values()
        ],
        "score": [e.score.quantized_value if e.score else None for e in sides.values()],
        "widest accumulator (bits)": [
            e.widest.width_bits if e.widest else None for e in sides.values()
        ],
        "weights (bytes)": [e.weight_bytes for e in sides.values()],
    }
    kept = {name: values for name, values in rows.items() if any(v is not None for v in values)}
    columns: dict[str, list[object]] = {"measure": list(kept)}
    for i, side in enumerate(sides):
        columns[side] = [
            wording.number(None if v[i] is None else float(v[i] or 0.0)) for v in kept.values()
        ]
    columns["how to read it"] = [HOW_TO_READ[name] for name in kept]
    return pd.DataFrame(columns)


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
