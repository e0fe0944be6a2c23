"""Tensors to choose a range for: a bell with outliers, and what each range does to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.distributions import RangeChoice, distribution, range_choices
from quantlib.arrays import read_only
from quantlib.core.options import QuantizationOptions
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.stats import MinMaxQuantizationStats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.arrays import AnyArray, FloatArray

BELL_SIZE = 4000
OUTLIERS = 8
_BY_SAMPLE = ("moving-average", "sample-mean")
"""Estimators that average over samples; the bell has none."""


def bell(seed: int = 1, size: int = BELL_SIZE) -> FloatArray:
    """Return standard normal values."""
    return np.random.default_rng(seed).standard_normal(size)


def with_outliers(reach: float, *, count: int = OUTLIERS, seed: int = 1) -> FloatArray:
    """Return a bell with a few values between 0.8 and 1.0 times `reach`; none for reach 0."""
    values = bell(seed)
    if reach > 0:
        far = np.random.default_rng(seed + 1).uniform(0.8 * reach, reach, count)
        values[: len(far)] = far
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Race:
    """All estimators on one tensor.

    Parameters
    ----------
    counts : int64 array, (n,)
        Values per bin.
    edges : float64 array, (n + 1,)
        Bins.
    choices : tuple of RangeChoice
        One per estimator, by rising SQNR.
    """

    counts: AnyArray
    edges: FloatArray
    choices: tuple[RangeChoice, ...]


def race(reach: float, n_bits: int) -> Race:
    """Let the estimators that need no samples choose a range for a bell with outliers."""
    values = with_outliers(reach)
    measured = distribution(values)
    found = [
        choice
        for choice in range_choices(measured, QuantizationOptions(n_bits, is_signed=True))
        if choice.estimator is not None and choice.estimator.name not in _BY_SAMPLE
    ]
    counts, edges = np.histogram(values, bins=120)
    return Race(counts, edges, ranked_by_error(found))


def ranked_by_error(choices: Sequence[RangeChoice]) -> tuple[RangeChoice, ...]:
    """Return choices by rising SQNR, min-max last of those that have the best one."""

    def rank(choice: RangeChoice) -> tuple[float, bool]:
        plain = choice.estimator is not None and choice.estimator.name == "min-max"
        return round(choice.fit.sqnr_db, 9), plain

    return tuple(sorted(choices, key=rank))


@dataclass(frozen=True, slots=True, eq=False)
class Shrinking:
    """The two errors of a bell under a range from -reach to reach.

    Parameters
    ----------
    reach : float64 array, (n,)
        Half the range, in standard deviations.
    rounding, clipping : float64 arrays, (n,)
        Mean squared error of the values within the grid, and of those beyond it; their sum is
        the whole error.
    """

    reach: FloatArray
    rounding: FloatArray
    clipping: FloatArray

    @property
    def best(self) -> float:
        """The reach of the smallest whole error."""
        return float(self.reach[np.argmin(self.rounding + self.clipping)])


def shrinking(n_bits: int, *, reaches: FloatArray | None = None) -> Shrinking:
    """Measure rounding and clipping of a bell for many ranges."""
    values = bell()
    steps = np.linspace(0.2, 5.0, 97) if reaches is None else reaches
    rounding, clipping = np.zeros(len(steps)), np.zeros(len(steps))
    for i, reach in enumerate(steps):
        grid = _grid(float(reach), n_bits)
        error = np.square(grid.dequant(grid.quant(values)) - values)
        ends = grid.dequant(np.array([grid.qmin, grid.qmax]))
        half = float(grid.scale) / 2
        outside = (values < ends[0] - half) | (values > ends[1] + half)
        rounding[i] = float(error[~outside].sum()) / len(values)
        clipping[i] = float(error[outside].sum()) / len(values)
    return Shrinking(read_only(steps), rounding, clipping)


def _grid(reach: float, n_bits: int) -> UniformQuantizer:
    stats = MinMaxQuantizationStats(rmax=np.float64(reach), rmin=np.float64(-reach))
    return UniformQuantizer.from_stats(QuantizationOptions(n_bits), stats)


@dataclass(frozen=True, slots=True, eq=False)
class FewSamples:
    """The largest value seen, by the number of samples.

    Parameters
    ----------
    samples : int64 array, (n,)
        How many samples calibrate.
    low, middle, high : float64 arrays, (n,)
        5th, 50th and 95th percentile of the maximum over many draws of that many samples.
    clipped : float64 array, (n,)
        Share of all values beyond the median maximum.
    """

    samples: AnyArray
    low: FloatArray
    middle: FloatArray
    high: FloatArray
    clipped: FloatArray


def few_samples(*, per_sample: int = 16, draws: int = 400, seed: int = 5) -> FewSamples:
    """Draw calibration sets of 1 to 512 samples of a heavy-tailed (Laplacian) tensor."""
    sizes = 2 ** np.arange(10)
    rng = np.random.default_rng(seed)
    largest = rng.laplace(size=(draws, int(sizes[-1]), per_sample)).max(axis=2)
    reached = np.maximum.accumulate(largest, axis=1)[:, sizes - 1]
    low, middle, high = np.percentile(reached, (5, 50, 95), axis=0)
    return FewSamples(sizes, low, middle, high, 0.5 * np.exp(-middle))
