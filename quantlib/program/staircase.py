"""A function of one integer as the places where it steps, found by evaluation."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.arrays import read_only

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from quantlib.arrays import IntArray

    Evaluate: TypeAlias = Callable[[IntArray], IntArray]
    """Integers (M, rows) to integers (M, rows): one function per column."""

CHUNK = 2**20
"""Numbers evaluated at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Staircase:
    """A function of an integer that is constant between its thresholds.

    Parameters
    ----------
    thresholds : int64 array, (m,)
        Ascending; each is the first integer of a new step.
    values : int64 array, (m + 1,)
        The function's value on each step; neighbours differ.
    """

    thresholds: IntArray
    values: IntArray

    @classmethod
    def of_samples(cls, integers: IntArray, values: IntArray) -> Staircase:
        """Join equal neighbours of a function known at ascending integers."""
        new = np.flatnonzero(values[1:] != values[:-1]) + 1
        kept = np.concatenate([[0], new])
        return cls(read_only(integers[new].copy()), read_only(values[kept].copy()))

    def __call__(self, integers: IntArray) -> IntArray:
        """Return the function's values."""
        return self.values[np.searchsorted(self.thresholds, integers, side="right")]

    @property
    def is_monotone(self) -> bool:
        """Whether the values only rise, or only fall."""
        steps = np.diff(self.values)
        return bool((steps > 0).all() or (steps < 0).all())

    def equals(self, other: Staircase) -> bool:
        """Tell whether the functions are the same."""
        return np.array_equal(self.thresholds, other.thresholds) and np.array_equal(
            self.values, other.values
        )


def tabulate(evaluate: Evaluate, *, low: int, high: int, rows: int) -> tuple[Staircase, ...]:
    """Evaluate functions at every integer of ``[low, high]``; one staircase per row."""
    step = max(1, CHUNK // rows)
    parts = []
    for start in range(low, high + 1, step):
        integers = np.arange(start, min(start + step, high + 1), dtype=np.int64)
        parts.append(evaluate(np.broadcast_to(integers[:, None], (len(integers), rows))))
    table = np.concatenate(parts)
    integers = np.arange(low, high + 1, dtype=np.int64)
    return tuple(Staircase.of_samples(integers, table[:, row]) for row in range(rows))


def bisect(evaluate: Evaluate, *, low: int, high: int, rows: int) -> tuple[Staircase, ...]:
    """Find the steps of functions that are monotone on ``[low, high]``; a staircase per row.

    An interval whose ends have equal values is one step; any other is halved, all intervals of
    all rows at once.
    """
    ends = np.array([[low] * rows, [high] * rows], dtype=np.int64)
    known = evaluate(ends)
    row = np.arange(rows)
    left, right, at_left, at_right = ends[0], ends[1], known[0], known[1]
    edges: list[tuple[IntArray, IntArray, IntArray]] = []  # row, first integer, its value
    edges.append((row, ends[0], known[0]))
    while len(row):
        differs = at_left != at_right
        row, left, right, at_left, at_right = (
            part[differs] for part in (row, left, right, at_left, at_right)
        )
        done = right - left == 1
        edges.append((row[done], right[done], at_right[done]))
        row, left, right, at_left, at_right = (
            part[~done] for part in (row, left, right, at_left, at_right)
        )
        middle = (left + right) // 2
        at_middle = _by_row(evaluate, row, middle, rows, fill=low)
        row = np.concatenate([row, row])
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
        at_left, at_right = (
            np.concatenate([at_left, at_middle]),
            np.concatenate([at_middle, at_right]),
        )
    every = [np.concatenate(part) for part in zip(*edges, strict=True)]
    order = np.lexsort((every[1], every[0]))
    rows_of, first, value = (part[order] for part in every)
    bounds = np.searchsorted(rows_of, np.arange(rows + 1))
    return tuple(
        Staircase(read_only(first[a + 1 : b]), read_only(value[a:b]))
        for a, b in itertools.pairwise(bounds)
    )


def _by_row(
    evaluate: Evaluate, row: IntArray, integers: IntArray, rows: int, *, fill: int
) -> IntArray:
    """Evaluate each integer by the function of its row."""
    if not len(row):
        return integers
    order = np.argsort(row, kind="stable")
    counts = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    grid = np.full((int(counts.max()), rows), fill, dtype=np.int64)
    grid[place, row[order]] = integers[order]
    found = np.empty_like(integers)
    found[order] = evaluate(grid)[place, row[order]]
    return found
