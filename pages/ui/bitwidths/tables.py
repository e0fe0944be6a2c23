"""Tables of the Bit widths screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from quantlib.analysis.widths.criterion import Criterion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quantlib.analysis.widths.budget import Budget, LayerBudget
    from quantlib.analysis.widths.cost import Cost
    from quantlib.analysis.widths.remedies import RemedyStudy
    from quantlib.analysis.widths.targets import Target
    from quantlib.program.view import RoundedSteps


def budget_table(found: Budget, criterion: Criterion) -> pd.DataFrame:
    """Return one row per accumulator: three widths, ranges, headroom."""
    layers = found.layers
    seen = [layer.seen for layer in layers]
    return pd.DataFrame(
        {
            "layer": [layer.name for layer in layers],
            "operator": [layer.op_type for layer in layers],
            "seen (bits)": _whole(s.width_bits if s else None for s in seen),
            "weights allow (bits)": [layer.weights.width_bits for layer in layers],
            "types allow (bits)": [layer.types.width_bits for layer in layers],
            f"fits {found.limit_bits} bits, {criterion}": [
                layer.fits_by(criterion) for layer in layers
            ],
            "headroom (bits)": [round(layer.headroom_bits, 2) for layer in layers],
            "smallest seen": [str(s.range[0]) if s else None for s in seen],
            "largest seen": [str(s.range[1]) if s else None for s in seen],
            "smallest possible": [str(layer.weights.range[0]) for layer in layers],
            "largest possible": [str(layer.weights.range[1]) for layer in layers],
            "channel that sets it": _whole(layer.widest_channel for layer in layers),
            "widest on the way (bits)": [layer.intermediate_width_bits for layer in layers],
            "low bits rounded away": [
                layer.rounding.lsbs_to_remove if layer.rounding else 0 for layer in layers
            ],
        }
    )


def parts_table(layer: LayerBudget) -> pd.DataFrame:
    """Return one row per integer that is computed on the way, the accumulator last."""
    rows = [(part.name, part.weights, part.seen) for part in layer.parts]
    rows.append(("accumulator", layer.weights, layer.seen))
    return pd.DataFrame(
        {
            "integer": [name for name, *_ in rows],
            "allowed (bits)": [weights.width_bits for _, weights, _ in rows],
            "allowed from": [str(weights.range[0]) for _, weights, _ in rows],
            "to": [str(weights.range[1]) for _, weights, _ in rows],
            "seen (bits)": _whole(seen.width_bits if seen else None for *_, seen in rows),
        }
    )


def remedy_table(study: RemedyStudy) -> pd.DataFrame:
    """Return one row per remedy: measured, or predicted where the model is slow."""
    if study.measured is None:
        return pd.DataFrame(
            {
                "change": [remedy.title for remedy in study.proposed],
                "predicted width (bits)": [r.predicted_width_bits for r in study.proposed],
                "predicted SQNR (dB)": [round(r.predicted_sqnr_db) for r in study.proposed],
                "predicted to fit": [remedy.predicted_to_fit for remedy in study.proposed],
                "carried by": [_carried(remedy.targets) for remedy in study.proposed],
            }
        )
    measured = study.measured
    bits = [
        entry.width_bits if study.criterion is Criterion.ANY_INPUT else entry.seen_width_bits
        for entry in measured
    ]
    return pd.DataFrame(
        {
            "change": [entry.remedy.title for entry in measured],
            "width (bits)": _whole(bits),
            "fits": [entry.fits_by(study.criterion) for entry in measured],
            "SQNR (dB)": [round(entry.sqnr_db, 1) for entry in measured],
            "against now (dB)": [round(entry.sqnr_db - study.sqnr_db, 1) for entry in measured],
            "carried by": [_carried(entry.remedy.targets) for entry in measured],
        }
    )


def _carried(targets: Iterable[Target]) -> str:
    return ", ".join(sorted(map(str, targets)))


def cost_table(found: Cost) -> pd.DataFrame:
    """Return one row per integer operator: what it costs per sample."""
    tables: dict[str, int] = {}
    for entry in found.lookups:
        tables[entry.name] = tables.get(entry.name, 0) + entry.count
    return pd.DataFrame(
        {
            "layer": [layer.name for layer in found.layers],
            "operator": [layer.op_type for layer in found.layers],
            "look-ups on its result": [tables.get(layer.name, 0) for layer in found.layers],
            "products": [layer.macs for layer in found.layers],
            "bit operations": [layer.bit_operations for layer in found.layers],
            "weights (bits)": [layer.weight_bits for layer in found.layers],
            "input codes (bits)": [layer.activation_bits for layer in found.layers],
        }
    )


def rounding_table(rounded: Sequence[RoundedSteps]) -> pd.DataFrame:
    """Return one row per width that rounding leaves: what the table loses, and its memory."""
    return pd.DataFrame(
        {
            "rounded to (bits)": [entry.bits for entry in rounded],
            "low bits lost": [entry.lsbs for entry in rounded],
            "steps lost": [entry.vanished for entry in rounded],
            "codes left": [entry.codes for entry in rounded],
            "whole table (bytes)": [entry.cost.whole_bytes for entry in rounded],
            "thresholds (bytes)": [entry.cost.threshold_bytes for entry in rounded],
        }
    )


def _whole(values: Iterable[int | None]) -> pd.api.extensions.ExtensionArray:
    """Return whole numbers as a column that may have gaps."""
    return pd.array(list(values), dtype="Int64")
