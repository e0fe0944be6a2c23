"""Which configurations nothing beats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quantlib.errors import TensorError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.arrays import AnyArray, FloatArray


def pareto_front(values: FloatArray, *, maximize: Sequence[bool]) -> AnyArray:
    """Return which points no other point dominates.

    Parameters
    ----------
    values : float64 array, shape (points, measures)
        A point per row, a measure per column, in any unit. Infinities compare as numbers.
    maximize : sequence of bool, one per measure
        Whether more is better; else less is.

    Returns
    -------
    bool array, shape (points,)
        The Pareto front. A point with a NaN is not on it and dominates nothing; equal points are
        on it together.

    Raises
    ------
    TensorError
        `values` is not a table with one column per member of `maximize`, at least one.

    Notes
    -----
    A point dominates another when it is at least as good in every measure and better in one
    (Pareto 1906). After sorting by all measures a point can be dominated only by one before it,
    so each is compared with the front found so far.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(maximize) or not len(maximize):
        raise TensorError(
            f"values have shape {table.shape} for {len(maximize)} directions; give one column "
            "per measure and one direction each."
        )
    costs = np.where(np.asarray(maximize, dtype=bool), -table, table)
    usable = np.flatnonzero(~np.isnan(costs).any(axis=1))
    order = usable[np.lexsort(costs[usable].T[::-1])]
    front: list[int] = []
    for i in order:
        before = costs[front]
        beaten = (before <= costs[i]).all(axis=1) & (before < costs[i]).any(axis=1)
        if not beaten.any():
            front.append(int(i))
    found = np.zeros(len(table), dtype=bool)
    found[front] = True
    return found
