"""Tables as pictures: the staircase from an accumulator to the next code."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.core.widths import bit_width
from quantlib.errors import OptionsError
from quantlib.program import steps
from quantlib.program.cost import TableCost, table_cost

if TYPE_CHECKING:
    from quantlib.arrays import IntArray
    from quantlib.program.program import IntegerProgram
    from quantlib.program.staircase import Staircase


@dataclass(frozen=True, slots=True)
class RoundedSteps:
    """What is left of a table's steps when low bits are rounded away first.

    Parameters
    ----------
    bits : int
        The rounding threshold: width that the accumulator keeps.
    lsbs : int
        Low bits it loses, of those that are there.
    codes : int
        Different codes that still come out, over all functions.
    vanished : int
        Steps that are gone, summed over all functions.
    """

    bits: int
    lsbs: int
    codes: int
    vanished: int


@dataclass(frozen=True, slots=True)
class TableView:
    """A table from a layer's integers to the codes that a reader takes.

    Parameters
    ----------
    layer, reader : str
        Whose integers enter; who reads the codes.
    through : tuple of str
        Layers whose float operators are inside.
    low, high : int
        Integers that can enter, by weights and grids.
    width_bits : int
        Width that holds them.
    lsbs : int
        Low bits that the layer rounds away before; thresholds count whole integers all the same.
    rows : tuple of int
        Which function holds for each channel, or element; empty where one holds for all.
    thresholds : tuple of tuple of int
        Of each function: the first integer of each new step, ascending.
    values : tuple of tuple of int
        Of each function: the code of each step, one more than thresholds.
    codes : int
        Different codes over all functions.
    rounded : tuple of RoundedSteps
        By rounding threshold, from the whole width down to 2 bits.
    cost : TableCost
        Read-only memory.
    """

    layer: str
    reader: str
    through: tuple[str, ...]
    low: int
    high: int
    width_bits: int
    lsbs: int
    rows: tuple[int, ...]
    thresholds: tuple[tuple[int, ...], ...]
    values: tuple[tuple[int, ...], ...]
    codes: int
    rounded: tuple[RoundedSteps, ...]
    cost: TableCost

    def dump_dict(self) -> dict[str, Any]:
        """Return a JSON-ready mapping."""
        return dataclasses.asdict(self)


def table_views(program: IntegerProgram, layer: str) -> tuple[TableView, ...]:
    """Return the tables that a layer's integers enter; see `QuantizedModule.tables`."""
    found = tuple(_view(program, table) for table in program.tables if table.layer == layer)
    if not found:
        known = ", ".join(dict.fromkeys(table.layer for table in program.tables)) or "none"
        raise OptionsError(f"no table begins at a layer {layer!r}; tables begin at: {known}.")
    return found


def _view(program: IntegerProgram, table: steps.Table) -> TableView:
    source = program.step(table.source)
    lsbs, offset, low, high = 0, 0, table.source_low, table.source_high
    if isinstance(source, steps.Round):
        lsbs, offset = source.lsbs, source.offset
        whole = program.step(source.source)
        low, high = whole.low, whole.high
    half = 2**lsbs // 2
    edges = [(s.thresholds << lsbs) - offset - half for s in table.staircases]
    width = bit_width(low, high)
    return TableView(
        layer=table.layer,
        reader=table.reader,
        through=table.through,
        low=low,
        high=high,
        width_bits=width,
        lsbs=lsbs,
        rows=tuple(table.rows.ravel().tolist()) if table.axes else (),
        thresholds=tuple(tuple(e.tolist()) for e in edges),
        values=tuple(tuple(s.values.tolist()) for s in table.staircases),
        codes=_different([s.values for s in table.staircases]),
        rounded=tuple(
            _rounded(
                table.staircases,
                [e + offset for e in edges],
                (low + offset, high + offset),
                bits,
                width - bits,
            )
            for bits in range(width, 1, -1)
            if width - bits >= lsbs
        ),
        cost=table_cost(table),
    )


def _different(values: list[IntArray]) -> int:
    return len(np.unique(np.concatenate(values)))


def _rounded(
    staircases: tuple[Staircase, ...], edges: list[IntArray], reach: tuple[int, int], bits: int,
    lsbs: int,
) -> RoundedSteps:  # fmt: skip
    """Round to multiples of ``2**lsbs``, ties upward, before the steps.

    A step at t is taken by the first multiple that is not below t; the steps between two
    multiples become one, and those beyond the last multiple are never taken.
    """
    half = 2**lsbs // 2
    first, last = ((end + half) >> lsbs for end in reach)
    vanished, codes = 0, []
    for staircase, edge in zip(staircases, edges, strict=True):
        taken = -(-edge >> lsbs)  # rounded up
        at = np.arange(len(edge) + 1)
        starts = np.concatenate([[first], np.maximum(taken, first)])
        ends = np.concatenate([np.maximum(taken, first), [last + 1]])
        kept = staircase.values[at[(ends > starts) & (starts <= last)]]
        changes = int((kept[1:] != kept[:-1]).sum())
        vanished += len(edge) - changes
        codes.append(kept)
    return RoundedSteps(bits, lsbs, _different(codes), vanished)
