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
            "same class as float (%)": [_per_cent(e.agreement) for e in effects],
            **_scores(found.score_name, [e.score for e in effects]),
        }
    )


def search_table(found: SearchResult, score_name: str | None) -> pd.DataFrame:
    """Return one row for what was found and one for the best uniform configuration."""
    rows = [("found", found.best)]
    if found.uniform is not None:
        rows.append(("best uniform", found.uniform))
    return pd.DataFrame(
        {
            "configuration": [title for title, _ in rows],
            wording.OBJECTIVES[found.objective] + _UNITS.get(found.objective, ""): [
                _cost(found.objective, candidate.cost) for _, candidate in rows
            ],
            "predicted SQNR (dB)": [round(c.predicted_sqnr_db, 2) for _, c in rows],
            "measured SQNR (dB)": [round(c.sqnr_db, 2) for _, c in rows],
            "same class as float (%)": [_per_cent(c.agreement) for _, c in rows],
            **_scores(score_name, [c.score for _, c in rows]),
            f"widest accumulator, {found.criterion} (bits)": [c.width_bits for _, c in rows],
        }
    )


def _cost(objective: Objective, value: float) -> float:
    """Return bits and bit operations as the whole numbers that they are."""
    return round(value) if objective in (Objective.SIZE, Objective.BIT_OPERATIONS) else value


def _per_cent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _scores(name: str | None, values: list[float | None]) -> dict[str, list[float | None]]:
    """Return the column of a score under its own name: an accuracy in per cent, as elsewhere."""
    if name is None:
        return {}
    if name == "accuracy":
        return {"accuracy (%)": [_per_cent(value) for value in values]}
    return {name: values}


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
