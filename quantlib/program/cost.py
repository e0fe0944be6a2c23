"""What a table takes in read-only memory, whole or as thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.program.archive import smallest_type

if TYPE_CHECKING:
    from quantlib.arrays import IntArray
    from quantlib.program.steps import Table


@dataclass(frozen=True, slots=True)
class TableCost:
    """What a table takes in read-only memory.

    Parameters
    ----------
    whole_bytes : int
        With an entry for every integer that can come.
    threshold_bytes : int
        With the integers at which it steps, in the smaller of the two forms below.
    relative : bool
        Whether thresholds are kept from the first one of their function on, which then needs
        narrower integers.
    """

    whole_bytes: int
    threshold_bytes: int
    relative: bool

    @property
    def least_bytes(self) -> int:
        """The cheaper form."""
        return min(self.whole_bytes, self.threshold_bytes)


def span(values: IntArray) -> int:
    """Return the bytes of the smallest integer type that holds all values."""
    if not values.size:
        return 0
    return smallest_type(int(values.min()), int(values.max())).itemsize


def consecutive(table: Table) -> int:
    """Return 1 where every step is one code up, -1 where all are one down, else 0."""
    steps = np.concatenate([np.diff(s.values) for s in table.staircases])
    if (steps == 1).all():
        return 1
    return -1 if (steps == -1).all() else 0


def edges(table: Table, *, relative: bool = False) -> IntArray:
    """Return the thresholds of all functions one after the other."""
    return np.concatenate(
        [
            s.thresholds - (s.thresholds[0] if relative and s.thresholds.size else 0)
            for s in table.staircases
        ]
    )


def first_edges(table: Table) -> IntArray:
    """Return the first threshold of each function; the lowest integer where it has none."""
    return np.array(
        [s.thresholds[0] if s.thresholds.size else table.source_low for s in table.staircases]
    )


def table_cost(table: Table) -> TableCost:
    """Return the bytes of a table in both forms, with what tells its functions apart."""
    rows = table.rows.ravel()
    numbered = table.axes and not np.array_equal(rows, np.arange(rows.size))
    row_bytes = rows.size * span(rows) if numbered else 0
    ends = np.array([table.low, table.high])
    count = len(table.staircases)
    plain = edges(table)
    absolute = plain.size * span(plain)
    narrow = plain.size * span(edges(table, relative=True)) + count * span(first_edges(table))
    shared = 0
    if count > 1:
        shared += (count + 1) * span(np.array([0, plain.size]))
    if consecutive(table):
        firsts = np.array([s.values[0] for s in table.staircases])
        shared += 0 if (firsts == firsts[0]).all() else count * span(firsts)
    else:
        shared += (plain.size + count) * span(ends)
    return TableCost(
        whole_bytes=table.width * count * span(ends) + row_bytes,
        threshold_bytes=min(absolute, narrow) + shared + row_bytes,
        relative=narrow < absolute,
    )
