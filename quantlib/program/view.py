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
from quantlib.program.segments import unique
from quantlib.program.staircase import Staircase

if TYPE_CHECKING:
    from quantlib.arrays import IntArray
    from quantlib.program.program import IntegerProgram


@dataclass(frozen=True, slots=True)
class RoundedSteps:
    """What is left of a table's steps when low bits are rounded away first.

    The highest integers may round to a multiple above the highest that can enter; the table does
    not reach there, and its last step is taken to go on. A module that rounds evaluates its
    operators at that multiple, and can have a further step there.

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
    cost : TableCost
        Read-only memory of the table on the rounded integers.
    """

    bits: int
    lsbs: int
    codes: int
    vanished: int
    cost: TableCost


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
    axes : tuple of int
        Axes of the sample along which the function changes; empty where one holds for all.
    shape : tuple of int
        Of one sample.
    rows : tuple of int
        Which function holds at each index of `axes`, in C order; empty where one holds for all.
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
    axes: tuple[int, ...]
    shape: tuple[int, ...]
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
        instead = _instead(program, layer)
        if instead:
            raise OptionsError(f"no table begins at layer {layer!r}: {instead}.")
        known = ", ".join(dict.fromkeys(table.layer for table in program.tables)) or "none"
        raise OptionsError(f"no table begins at a layer {layer!r}; tables begin at: {known}.")
    return found


def _instead(program: IntegerProgram, layer: str) -> str:
    """Return what becomes of the integers of a layer without a table; empty if it has none."""
    around = dict.fromkeys(table.layer for table in program.tables if layer in table.through)
    if around:
        return f"it is inside the one of {' and '.join(map(repr, around))}"
    own = {step.name for step in program.steps if step.layer == layer}
    said = [
        f"its integers are the model's output {output.name!r}"
        for output in program.outputs
        if output.source in own
    ]
    for step in program.steps:
        if step.name in own or own.isdisjoint(step.sources):
            continue
        if isinstance(step, steps.Island):
            said.append(f"what reads it stays in float, as {step.reason}")
        else:
            said.append(f"{step.layer!r} takes its integers as they are")
    return ", and ".join(dict.fromkeys(said))


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
        axes=table.axes,
        shape=table.shape,
        rows=tuple(table.rows.ravel().tolist()) if table.axes else (),
        thresholds=tuple(tuple(e.tolist()) for e in edges),
        values=tuple(tuple(s.values.tolist()) for s in table.staircases),
        codes=_different([s.values for s in table.staircases]),
        rounded=tuple(
            _rounded(
                table,
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
    table: steps.Table, edges: list[IntArray], reach: tuple[int, int], bits: int, lsbs: int
) -> RoundedSteps:
    """Round to multiples of ``2**lsbs``, ties upward, before the steps.

    A step at t is taken by the first multiple that is not below t; the steps between two
    multiples become one, and those beyond the last multiple are never taken.
    """
    half = 2**lsbs // 2
    first, last = ((end + half) >> lsbs for end in reach)
    left = []
    for staircase, edge in zip(table.staircases, edges, strict=True):
        taken = np.maximum(-(-edge >> lsbs), first)  # rounded up
        starts, ends = np.append(first, taken), np.append(taken, last + 1)
        alive = (ends > starts) & (starts <= last)
        left.append(Staircase.of_samples(starts[alive], staircase.values[alive]))
    codes = [staircase.values for staircase in left]
    kinds, places = unique(tuple(left))
    alike = len(kinds) == 1
    rounded = dataclasses.replace(
        table,
        low=min(int(values.min()) for values in codes),
        high=max(int(values.max()) for values in codes),
        axes=() if alike else table.axes,
        rows=places[0] if alike else places[table.rows],
        staircases=kinds,
        source_low=first,
        source_high=last,
    )
    vanished = sum(len(edge) for edge in edges) - sum(len(s.thresholds) for s in left)
    return RoundedSteps(bits, lsbs, _different(codes), vanished, table_cost(rounded))
