"""The window of a histogram that loses least information on a grid of few levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray, FloatArray, IntArray

_BLOCK = 1 << 18
_TIE = 1e-12

_EMPTY = 1e-4
"""Counts of Q where it has none."""


def entropy_window(counts: IntArray, centre: int | None, n_levels: int) -> tuple[int, int]:
    """Return the window of bins with the smallest Kullback-Leibler divergence.

    Parameters
    ----------
    counts : int64 array, (bins,)
        A histogram.
    centre : int or None
        Windows grow by one bin to each side of this one, as far as there are bins; with None
        they start at bin 0 and grow to the right.
    n_levels : int
        Levels of the grid, at least 2.

    Returns
    -------
    start, stop : int
        First bin, and the one past the last. All bins if the grid has as many levels as there
        are bins: no window is then narrower than its grid.
    """
    starts, stops = _windows(counts.size, centre, n_levels)
    divergences = window_divergences(counts, starts, stops, n_levels)
    lowest = divergences.min()
    best = int(np.flatnonzero(divergences <= lowest + _TIE)[-1])
    return int(starts[best]), int(stops[best])


def window_divergences(
    counts: IntArray, starts: IntArray, stops: IntArray, n_levels: int
) -> FloatArray:
    """Return the divergence of every window, nats.

    Parameters
    ----------
    counts : int64 array, (bins,)
        A histogram.
    starts, stops : int64 array, (windows,)
        Windows of at least `n_levels` bins.
    n_levels : int
        Levels of the grid.

    Returns
    -------
    float64 array, (windows,)
        ``sum P log(P / Q)``; infinite for a window without mass.

    Notes
    -----
    P is the window with the clipped mass added to its two end bins. Q is the window alone, its
    bins divided into `n_levels` groups of (nearly) equal size, the mass of a group spread over
    those of its bins that hold mass in P (Migacz, *8-bit inference with TensorRT*, GTC 2017).
    Clipped mass beside an empty group meets a Q of 1e-4 counts, as in MXNet and ONNX Runtime;
    with 0 a single outlier would forbid every window but the widest. Within a group, log Q is a
    constant, so sums over groups come from running sums, and a window costs `n_levels` operations.
    """
    mass = counts.astype(np.float64)
    total = mass.sum()
    sums = np.concatenate([[0.0], np.cumsum(mass)])
    filled = np.concatenate([[0], np.cumsum(counts > 0)])
    information = np.concatenate([[0.0], np.cumsum(_x_log_x(mass))])
    divergences = np.empty(starts.size)
    rows = max(1, _BLOCK // n_levels)
    for begin in range(0, starts.size, rows):
        start, stop = starts[begin : begin + rows], stops[begin : begin + rows]
        sizes = (stop - start)[:, None]
        bounds = start[:, None] + np.arange(n_levels + 1) * sizes // n_levels
        kept = np.diff(sums[bounds])
        bins = np.diff(filled[bounds])
        p_mass = kept.copy()
        p_information = information[stop] - information[start]
        ends = ((0, start, sums[start]), (-1, stop - 1, total - sums[stop]))
        for group, end, clipped in ends:
            p_mass[:, group] += clipped
            bins[:, group] += (mass[end] == 0) & (clipped > 0)
            p_information += _x_log_x(mass[end] + clipped) - _x_log_x(mass[end])
        inside = kept.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_q = np.log(np.where(kept > 0, kept, _EMPTY) / np.maximum(bins, 1))
            crossed = p_mass * log_q
            divergences[begin : begin + rows] = (
                (p_information - crossed.sum(axis=1)) / total - np.log(total) + np.log(inside)
            )
    divergences[~np.isfinite(divergences)] = np.inf
    return divergences


def _windows(n_bins: int, centre: int | None, n_levels: int) -> tuple[AnyArray, AnyArray]:
    """Return starts and stops of all windows of at least `n_levels` bins, growing."""
    if n_bins <= n_levels:
        return np.array([0]), np.array([n_bins])
    if centre is None:
        stops = np.arange(n_levels, n_bins + 1)
        return np.zeros_like(stops), stops
    reach = np.arange(max(centre, n_bins - 1 - centre) + 1)
    starts = np.maximum(centre - reach, 0)
    stops = np.minimum(centre + reach + 1, n_bins)
    enough = stops - starts >= n_levels
    return starts[enough], stops[enough]


def _x_log_x(x: FloatArray) -> FloatArray:
    return x * np.log(np.where(x > 0, x, 1.0))
