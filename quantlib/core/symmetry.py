"""The reference's rule that decides whether a constant's grid is symmetric around 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray

SYMMETRY_PERCENTILES = (3.0, 97.0)
SYMMETRY_RATIO = 3.0


@dataclass(frozen=True, slots=True)
class SymmetryVerdict:
    """What the reference's rule finds about a distribution.

    Parameters
    ----------
    low, high : float
        Its 3rd and 97th percentile.
    ratio : float
        ``abs(low / high)``, 0 when ``abs(high) < 0.001``.
    symmetric : bool
        Not both on one side of 0, and ``1/3 <= ratio <= 3``.
    """

    low: float
    high: float
    ratio: float
    symmetric: bool


def symmetry(values: AnyArray) -> SymmetryVerdict:
    """Ask the reference's rule whether a distribution is symmetric around 0."""
    low, high = np.percentile(values, SYMMETRY_PERCENTILES)
    ratio = 0.0 if abs(high) < 1e-3 else abs(low / high)
    one_sided = (low > 0 and high > 0) or (low < 0 and high < 0)
    symmetric = not one_sided and 1 / SYMMETRY_RATIO <= ratio <= SYMMETRY_RATIO
    return SymmetryVerdict(float(low), float(high), float(ratio), bool(symmetric))
