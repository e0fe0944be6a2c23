"""Tables and words of the Layers screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from quantlib import wording
from quantlib.analysis.search.objective import Objective

if TYPE_CHECKING:
    from quantlib.analysis.attribution.sensitivity import Sensitivity
    from quantlib.analysis.search.search import SearchResult


_UNITS = {Objective.SIZE: " (bits)", Objective.LOOKUPS: " (floating-point operations)"}


def sensitivity_table(found: Sensitivity) -> pd.DataFrame:
    """Return one row per layer, direction and part."""
    effects = found.effects
    return pd.DataFrame(
        {
            "layer": [e.layer for e in effects],
            "operator": [e.op_type for e in effects],
            "what": [str(e.direction) for e in effects],
            "part": [str(e.part) for e in effects],
            "SQNR (dB)": [e.sqnr_db for e in effects],
            "error (% of the whole)": [
                round(100 * e.mse / found.mse, 2) if found.mse else None for e in effects
            ],
            "agreement": [e.agreement for e in effects],
            found.score_name or "score": [e.score for e in effects],
        }
    )


def search_table(found: SearchResult) -> pd.DataFrame:
    """Return one row for what was found and one for the best uniform configuration."""
    rows = [("found", found.best)]
    if found.uniform is not None:
        rows.append(("best uniform", found.uniform))
    return pd.DataFrame(
        {
            "configuration": [title for title, _ in rows],
            wording.OBJECTIVES[found.objective] + _UNITS.get(found.objective, ""): [
                candidate.cost for _, candidate in rows
            ],
            "predicted SQNR (dB)": [round(c.predicted_sqnr_db, 2) for _, c in rows],
            "measured SQNR (dB)": [round(c.sqnr_db, 2) for _, c in rows],
            "agreement": [c.agreement for _, c in rows],
            "score": [c.score for _, c in rows],
            "widest accumulator (bits)": [c.width_bits for _, c in rows],
        }
    )


def assignment_table(found: SearchResult) -> pd.DataFrame:
    """Return one row per layer: the widths found and the uniform ones."""
    uniform = found.uniform.widths if found.uniform else {}
    return pd.DataFrame(
        [
            {
                "layer": layer,
                "weight bits": w or None,
                "activation bits": a,
                "uniform weight bits": uniform.get(layer, (0, 0))[0] or None,
                "uniform activation bits": uniform.get(layer, (0, 0))[1] or None,
            }
            for layer, (w, a) in found.best.widths.items()
        ]
    )
