"""How likely a value beyond all that were seen is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantlib.arrays import FloatArray

MIN_SAMPLES = 40
"""Fewest samples whose tail is fitted."""

_MIN_TAIL, _MAX_TAIL = 10, 250


@dataclass(frozen=True, slots=True, eq=False)
class TailFit:
    """Generalized Pareto tails of one or many sets of samples.

    Parameters
    ----------
    threshold, scale, shape : float64 array, (sets,)
        ``P(X > x | X > threshold) = (1 + shape (x - threshold) / scale)**(-1 / shape)``; threshold
        and scale in the unit of the samples. A scale of 0 is an end point: nothing lies beyond.
    share : float
        Share of the samples above the threshold.

    Notes
    -----
    The largest tenth of the samples (10 to 250 of them) is fitted by probability-weighted
    moments (Hosking and Wallis, *Technometrics* 29 (1987), plotting positions ``(j - 0.35) / k``),
    which suit a few dozen values better than maximum likelihood; that excesses over a high
    threshold are generalized Pareto is the theorem of Pickands (1975). The shape is below 1
    by construction. A negative shape, which claims an end and a chance of 0 beyond it, is raised
    to 0, the exponential tail of the same mean excess: some dozens of values are no proof of an
    end. The chance is then rather too high (bounded and Gaussian data) than 0 by accident.
    """

    threshold: FloatArray
    scale: FloatArray
    shape: FloatArray
    share: float

    @classmethod
    def fit(cls, samples: FloatArray) -> TailFit:
        """Fit the upper tail of every row of a (sets, samples) array of `MIN_SAMPLES` or more."""
        n = samples.shape[1]
        k = min(max(_MIN_TAIL, n // 10), _MAX_TAIL)
        upper = np.sort(np.partition(samples, n - k - 1, axis=1)[:, n - k - 1 :], axis=1)
        threshold, excess = upper[:, 0], upper[:, 1:] - upper[:, :1]
        weight = 1.0 - (np.arange(1, k + 1) - 0.35) / k
        first, second = excess.mean(axis=1), excess @ weight / k
        spread = np.where(first > 0, first - 2.0 * second, 1.0)
        shape = np.maximum(np.where(first > 0, 2.0 - first / spread, 0.0), 0.0)
        return cls(threshold, first * (1.0 - shape), shape, k / n)

    def chance_above(self, limit: float) -> FloatArray:
        """Return the chance of a value above `limit`, which lies above every threshold: (sets,)."""
        ended = self.scale <= 0
        reach = np.maximum(limit - self.threshold, 0.0) / np.where(ended, 1.0, self.scale)
        flat = self.shape < 1e-9
        shape = np.where(flat, 1.0, self.shape)
        survival = np.where(flat, np.exp(-reach), (1.0 + shape * reach) ** (-1.0 / shape))
        return np.where(ended, 0.0, self.share * survival)
