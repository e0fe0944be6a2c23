"""A histogram whose bins depend on the range of the data only, so that pieces add exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.arrays import read_only
from quantlib.errors import OptionsError, TensorError

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray, FloatArray, IntArray

DEFAULT_BINS = 2048
"""Most bins of a histogram unless told otherwise."""

RESOLUTION_BITS = 24
"""Bins are never narrower than 2**-24 of the largest magnitude: a float32's own resolution."""

MAX_MAGNITUDE = 2.0**500
"""Largest magnitude that is measured: its square is still a float64."""

_MIN_EXPONENT = -1000
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class DyadicHistogram:
    """Counts in bins of width ``2**exponent`` whose edges are multiples of that width.

    Parameters
    ----------
    exponent : int
        Base-2 logarithm of the bin width, in the tensor's unit.
    first : int
        Bin i covers ``[(first + i) * 2**exponent, (first + i + 1) * 2**exponent)``.
    counts : int64 array, (bins,)
        Values per bin; the first and the last bin are not empty.
    max_bins : int
        Limit on the number of bins, at least 2.

    Notes
    -----
    The width is the smallest power of two that covers ``[rmin, rmax]`` with `max_bins` bins (and
    not finer than `RESOLUTION_BITS`). It only grows with the range, and a bin of width 2w is
    exactly two bins of width w. So the histogram of a tensor is the sum of the histograms of its
    pieces, whatever the pieces and their order. Between ``max_bins / 2`` and `max_bins` bins are
    in use. Halving the resolution by joining neighbours is the range adaptation of PyTorch's
    ``HistogramObserver``, restricted here to grids on which it loses nothing.
    """

    exponent: int
    first: int
    counts: IntArray
    max_bins: int = DEFAULT_BINS

    @classmethod
    def measure(
        cls, values: AnyArray, rmin: float, rmax: float, max_bins: int = DEFAULT_BINS
    ) -> DyadicHistogram:
        """Count an array of finite values.

        Parameters
        ----------
        values : float array, any shape
            What is counted.
        rmin, rmax : float
            Its exact extremes.
        max_bins : int
            Limit on the number of bins, 2 to 2**20.

        Raises
        ------
        OptionsError
            `max_bins` out of range.
        TensorError
            A magnitude above 2**500.
        """
        exponent = width_exponent(rmin, rmax, max_bins)
        first = bin_index(rmin, exponent)
        n_bins = bin_index(rmax, exponent) - first + 1
        counts = np.zeros(n_bins, dtype=np.int64)
        flat = np.ravel(values)
        factor = math.ldexp(1.0, -exponent)
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK].astype(np.float64)
            scaled = block * factor
            np.floor(scaled, out=scaled)
            if rmin < 0:
                scaled -= (scaled == 0) & (block < 0)  # underflow of a tiny negative value
            scaled -= first
            counts += np.bincount(scaled.astype(np.intp), minlength=n_bins)
        return cls(exponent, first, read_only(counts), max_bins)

    @property
    def width(self) -> float:
        """Bin width, in the tensor's unit."""
        return math.ldexp(1.0, self.exponent)

    @property
    def edges(self) -> FloatArray:
        """Bin edges: float64 array, (bins + 1,), in the tensor's unit."""
        return (self.first + np.arange(self.counts.size + 1, dtype=np.float64)) * self.width

    def coarsened(self, exponent: int) -> DyadicHistogram:
        """Return the same counts in bins of width ``2**exponent``.

        Raises
        ------
        OptionsError
            The wanted bins are narrower than the present ones.
        """
        shift = exponent - self.exponent
        if shift < 0:
            raise OptionsError(
                f"bins of width 2**{self.exponent} cannot be split into 2**{exponent}; "
                "measure again."
            )
        if shift == 0:
            return self
        first = self.first >> shift
        place = (np.arange(self.counts.size) + self.first >> shift) - first
        counts = np.zeros(int(place[-1]) + 1, dtype=np.int64)
        np.add.at(counts, place, self.counts)
        return DyadicHistogram(exponent, first, read_only(counts), self.max_bins)

    def merge(self, other: DyadicHistogram, rmin: float, rmax: float) -> DyadicHistogram:
        """Return the histogram of both tensors together, whose extremes are `rmin` and `rmax`.

        Raises
        ------
        OptionsError
            The two have different limits on the number of bins.
        """
        if self.max_bins != other.max_bins:
            raise OptionsError(
                f"histograms of at most {self.max_bins} and {other.max_bins} bins do not merge; "
                "measure both with one limit."
            )
        exponent = width_exponent(rmin, rmax, self.max_bins)
        a, b = self.coarsened(exponent), other.coarsened(exponent)
        first = min(a.first, b.first)
        end = max(a.first + a.counts.size, b.first + b.counts.size)
        counts = np.zeros(end - first, dtype=np.int64)
        for part in (a, b):
            counts[part.first - first : part.first - first + part.counts.size] += part.counts
        return DyadicHistogram(exponent, first, read_only(counts), self.max_bins)

    def folded(self) -> DyadicHistogram:
        """Return the histogram of the magnitudes, its first bin starting at 0.

        A negative value on an edge counts one bin further in than its magnitude would.
        """
        index = self.first + np.arange(self.counts.size)
        place = np.where(index < 0, -index - 1, index)
        counts = np.zeros(int(place.max()) + 1, dtype=np.int64)
        np.add.at(counts, place, self.counts)
        return DyadicHistogram(self.exponent, 0, read_only(counts), self.max_bins)


def width_exponent(rmin: float, rmax: float, max_bins: int) -> int:
    """Return e such that bins of width ``2**e`` cover ``[rmin, rmax]`` with at most `max_bins`.

    Raises
    ------
    OptionsError
        `max_bins` is not an integer from 2 to 2**20.
    TensorError
        A magnitude above 2**500.
    """
    if isinstance(max_bins, bool) or not isinstance(max_bins, int) or not 2 <= max_bins <= 2**20:
        raise OptionsError(f"max_bins is {max_bins!r}; give an integer from 2 to {2**20}.")
    largest = max(abs(rmin), abs(rmax))
    if largest > MAX_MAGNITUDE:
        raise TensorError(
            f"values up to {largest:g} are too large to measure (limit {MAX_MAGNITUDE:g}); "
            "scale the data."
        )
    exponent = max(math.frexp(largest)[1] - RESOLUTION_BITS, _MIN_EXPONENT)
    span = rmax - rmin
    if span > 0:
        exponent = max(exponent, math.frexp(span / max_bins)[1] - 2)
    while True:
        if bin_index(rmax, exponent) - bin_index(rmin, exponent) < max_bins:
            return exponent
        exponent += 1


def bin_index(value: float, exponent: int) -> int:
    """Return the bin of one value; tiny negative values stay below 0 when they underflow."""
    index = math.floor(math.ldexp(value, -exponent))
    return -1 if index == 0 and value < 0 else index
