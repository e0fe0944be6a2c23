"""Tables of the Bit widths screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quantlib.analysis.widths.budget import Budget, LayerBudget
    from quantlib.analysis.widths.cost import Cost
    from quantlib.analysis.widths.remedies import Remedy, VerifiedRemedy


def budget_table(found: Budget) -> pd.DataFrame:
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
            f"fits {found.limit_bits} bits": [layer.fits for layer in layers],
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


def remedy_table(proposed: Sequence[Remedy], done: Sequence[VerifiedRemedy] | None) -> pd.DataFrame:
    """Return one row per remedy: predicted and, once run, verified."""
    table = pd.DataFrame(
        {
            "change": [remedy.title for remedy in proposed],
            "predicted width (bits)": [remedy.predicted_width_bits for remedy in proposed],
            "predicted SQNR (dB)": [round(remedy.predicted_sqnr_db, 1) for remedy in proposed],
        }
    )
    if done is not None:
        table["verified width (bits)"] = [result.width_bits for result in done]
        table["verified SQNR (dB)"] = [round(result.sqnr_db, 1) for result in done]
        table["fits"] = [result.fits for result in done]
    else:
        table["predicted to fit"] = [remedy.predicted_to_fit for remedy in proposed]
    return table


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


def _whole(values: Iterable[int | None]) -> pd.api.extensions.ExtensionArray:
    """Return whole numbers as a column that may have gaps."""
    return pd.array(list(values), dtype="Int64")
