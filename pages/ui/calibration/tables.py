"""Tables and words of the Calibration screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantlib import wording
from quantlib.analysis.distributions import RangeOrigin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.analysis.distributions import Channels, RangeChoice
    from quantlib.analysis.reports import Evaluation
    from quantlib.core.scheme import Scheme
    from quantlib.core.symmetry import SymmetryVerdict


_ORIGINS = {
    RangeOrigin.OWN: "Set by the slider.",
    RangeOrigin.CURRENT: "The grid that runs, its range measured where the configuration says.",
}


def layer_table(found: Evaluation) -> pd.DataFrame:
    """Return one row per node: treatment, grids, SQNR."""
    return pd.DataFrame(
        {
            "layer": [layer.name for layer in found.layers],
            "operator": [layer.op_type for layer in found.layers],
            "treatment": [layer.treatment for layer in found.layers],
            "input grid": [wording.grid_in_full(layer.input_grid) for layer in found.layers],
            "weight grid": [wording.grid_in_full(layer.weight_grid) for layer in found.layers],
            "SQNR (dB)": [layer.sqnr_db for layer in found.layers],
        }
    )


def range_table(choices: Sequence[RangeChoice], best: int | None = None) -> pd.DataFrame:
    """Return one row per range: ends, scale, and how its grid fits; the best is marked."""
    stats = [choice.quantizer.quant_stats for choice in choices]
    return pd.DataFrame(
        {
            "estimator": [
                choice.estimator.kind.label if choice.estimator else str(choice.origin)
                for choice in choices
            ],
            "best": ["best" if i == best else "" for i in range(len(choices))],
            "low": [float(s.rmin) if s else None for s in stats],
            "high": [float(s.rmax) if s else None for s in stats],
            "scale": [float(np.mean(choice.quantizer.scale)) for choice in choices],
            "clipped (%)": [round(100 * choice.fit.clipped_share, 3) for choice in choices],
            "SQNR (dB)": [choice.fit.sqnr_db for choice in choices],
            "what it is": [
                choice.estimator.kind.explanation if choice.estimator else _ORIGINS[choice.origin]
                for choice in choices
            ],
        }
    )


def channel_table(channels: Channels) -> pd.DataFrame:
    """Return one row per channel."""
    return pd.DataFrame(
        {
            "channel": np.arange(len(channels.low)),
            "low": channels.low,
            "high": channels.high,
            "zeros (%)": np.round(100 * channels.zero_share, 2),
        }
    )


def symmetry(found: SymmetryVerdict, chosen: Scheme) -> str:
    """Return what the automatic rule finds, with the numbers that decide it."""
    verdict = "symmetric" if found.symmetric else "not symmetric"
    numbers = (
        f"3rd and 97th percentile {wording.number(found.low)} and {wording.number(found.high)}, "
        f"ratio {found.ratio:.2f} {'within' if 1 / 3 <= found.ratio <= 3 else 'outside'} 1/3 to 3"
    )
    used = "auto" if chosen.symmetric is None and chosen.signed is None else "auto would say"
    return f"{used} → {verdict} ({numbers})"
