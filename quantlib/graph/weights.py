"""Numbers among the constants that are none: NaN and infinities."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from quantlib.errors import ModelLoadError

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Graph

_PRODUCTS = frozenset(["Conv", "ConvTranspose", "Gemm", "MatMul"])


def with_notes(graph: Graph) -> Graph:
    """Return the graph with a note for each constant that holds NaN or infinite values.

    Raises
    ------
    ModelLoadError
        A weight or bias of a product does: no sum with it is a number, and no grid covers it.
    """
    products = {
        name: node
        for node in graph.nodes
        if node.op_type in _PRODUCTS and not node.domain
        for name in node.inputs
    }
    notes = []
    for name, values in graph.constants.items():
        found = _words(values)
        if found and name in products:
            node = products[name]
            raise ModelLoadError(
                f"{graph.name}: weight {name!r} of node {node.name!r} ({node.op_type}) holds "
                f"{found}; train or export the model again, and look for a division by 0."
            )
        if found:
            notes.append(f"constant {name!r} holds {found}; they are kept.")
    return dataclasses.replace(graph, notes=(*graph.notes, *notes)) if notes else graph


def _words(values: AnyArray) -> str:
    """Return how many values are no numbers; empty where all are."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return ""
    nans, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    parts = [f"{nans} of {values.size} values that are NaN"] if nans else []
    parts += [f"{infinite} of {values.size} values that are infinite"] if infinite else []
    return " and ".join(parts)
