"""Table and words about a model before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from pages.ui import text

if TYPE_CHECKING:
    from quantlib.analysis.preflight import NodeReport, Preflight


def preflight_table(found: Preflight) -> pd.DataFrame:
    """Return one row per node before anything runs."""
    nodes = found.nodes
    carried = pd.array([node.carried_bits for node in nodes], dtype="Int64")
    return pd.DataFrame(
        {
            "node": [node.name for node in nodes],
            "operator": [node.op_type for node in nodes],
            "treatment": [str(node.treatment) for node in nodes],
            **({"own bits": carried} if found.carried else {}),
            "look-up": pd.array([node.segment for node in nodes], dtype="Int64"),
            "fan-in": pd.array([node.fan_in for node in nodes], dtype="Int64"),
            "MACs per sample": pd.array([node.macs for node in nodes], dtype="Int64"),
            "Concrete ML": [_concrete_ml(node) for node in nodes],
        }
    )


def _concrete_ml(node: NodeReport) -> str:
    """Return Concrete ML's verdict; what it refuses and is quantized here is an extension."""
    if not node.refusal:
        return node.verdict
    extended = str(node.treatment) in {"integer", "mover", "table look-up"}
    return f"extension: {node.refusal}" if extended else node.refusal


def carried(found: Preflight) -> str:
    """Return which widths a model brings with it, in a sentence; empty if none."""
    if not found.carried:
        return ""
    quantizers = {n.carried_bits for n in found.carried if n.treatment == "table look-up"}
    weights = {n.carried_bits for n in found.carried if n.treatment == "integer"}
    parts = [
        f"{what} {', '.join(map(str, sorted(filter(None, widths))))} bits"
        for what, widths in (("activations", quantizers), ("weights", weights))
        if widths
    ]
    return (
        f"**Quantized already** (quantization-aware training or QDQ): {'; '.join(parts)}. These "
        "grids are used as they are; the widths in the sidebar apply where the model brings none."
    )


def verdict(found: Preflight) -> str:
    """Return what Concrete ML would say of the model, in a sentence of Markdown."""
    refused = found.refused
    if refused:
        first = refused[0]
        return (
            f"Concrete ML would refuse {len(refused)} of {len(found.nodes)} nodes: "
            f"{text.plain(first.name)}, {text.plain(first.refusal, 120)}."
        )
    if found.refusal:
        return f"Concrete ML would take each node, but {text.plain(found.refusal, 120)}."
    count = len(found.nodes)
    return f"Concrete ML takes {f'all {count} nodes' if count > 1 else 'its one node'}."
