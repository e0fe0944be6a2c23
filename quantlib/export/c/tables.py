"""Tables in C: whole, or as thresholds, whichever takes fewer bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import quantlib.export.c.text as c

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from quantlib.arrays import IntArray
    from quantlib.program.steps import Table

    Define: TypeAlias = Callable[[IntArray, str], str]

_SEARCH = """static size_t {name}(const {kind} *t, size_t n, int64_t v)
{{
    size_t below = 0; /* thresholds that are not above v */
    while (n > 0) {{
        const size_t half = n / 2;
        if (t[below + half] <= v) {{
            below += half + 1;
            n -= half + 1;
        }} else {{
            n = half;
        }}
    }}
    return below;
}}"""


@dataclass(frozen=True, slots=True)
class TableCost:
    """What a table takes in read-only memory.

    Parameters
    ----------
    whole_bytes : int
        With an entry for every integer.
    threshold_bytes : int
        With the integers at which it steps.
    """

    whole_bytes: int
    threshold_bytes: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """A table as an expression.

    Parameters
    ----------
    template : str
        The expression, with ``{v}`` for the integer and the element's number in ``n``.
    kind : str
        Its type.
    function_name, function : str
        What it calls; empty for nothing.
    """

    template: str
    kind: str
    function_name: str = ""
    function: str = ""

    def expression(self, value: str) -> str:
        """Return the expression for an integer."""
        return self.template.replace("{v}", value)


def _span(values: IntArray) -> int:
    return c.size_of(c.c_type(int(values.min()), int(values.max()))) if values.size else 0


def _consecutive(table: Table) -> int:
    """Return 1 where every step is one code up, -1 where all are one down, else 0."""
    steps = np.concatenate([np.diff(s.values) for s in table.staircases])
    if (steps == 1).all():
        return 1
    return -1 if (steps == -1).all() else 0


def cost(table: Table) -> TableCost:
    """Return the bytes of a table in both forms, with what tells rows apart."""
    rows = table.rows.size if table.axes else 0
    numbered = rows and not np.array_equal(table.rows.ravel(), np.arange(table.rows.size))
    row_bytes = rows * _span(table.rows) if numbered else 0
    ends = np.array([table.low, table.high])
    whole = table.width * len(table.staircases) * _span(ends)
    edges = np.concatenate([s.thresholds for s in table.staircases])
    count = len(table.staircases)
    thresholds = edges.size * _span(edges)
    if count > 1:
        thresholds += (count + 1) * _span(np.array([0, edges.size]))
    if _consecutive(table):
        firsts = np.array([s.values[0] for s in table.staircases])
        thresholds += 0 if (firsts == firsts[0]).all() else count * _span(firsts)
    else:
        thresholds += (edges.size + count) * _span(ends)
    return TableCost(whole + row_bytes, thresholds + row_bytes)


def lookup(table: Table, define: Define) -> Lookup:
    """Define a table's arrays; return how it is read."""
    row = _row(table, define)
    found = cost(table)
    if found.whole_bytes <= found.threshold_bytes:
        entries = define(table.entries(), "table")
        start = f"(size_t)({row}) * {table.width} + " if row else ""
        low = c.number(table.source_low)
        wide = c.signed_type(max(abs(table.source_low), abs(table.source_high)) + table.width)
        at = f"(size_t)(({wide}){{v}} - ({wide}){low})"
        kind = c.signed_type(table.magnitude)
        return Lookup(f"({kind}){entries}[{start}{at}]", kind)
    return _searched(table, row, define)


def _searched(table: Table, row: str, define: Define) -> Lookup:
    edges = np.concatenate([s.thresholds for s in table.staircases])
    kind = c.signed_type(table.magnitude)
    if not edges.size:  # constants
        values = np.array([s.values[0] for s in table.staircases])
        if not row:
            return Lookup(f"({kind}){c.number(int(values[0]))}", kind)
        return Lookup(f"({kind}){define(values, 'values')}[{row}]", kind)
    edge_kind = c.c_type(int(edges.min()), int(edges.max()))
    name = f"steps_{edge_kind.removesuffix('_t')}"
    array = define(edges, "thresholds")
    counts = [len(s.thresholds) for s in table.staircases]
    if row:
        starts = define(np.cumsum([0, *counts]), "starts")
        begin = f"{starts}[{row}]"
        call = f"{name}({array} + {begin}, (size_t)({starts}[({row}) + 1] - {begin}), {{v}})"
    else:
        begin = "0"
        call = f"{name}({array}, {counts[0]}, {{v}})"
    function = _SEARCH.format(name=name, kind=edge_kind)
    direction = _consecutive(table)
    if direction:
        firsts = np.array([s.values[0] for s in table.staircases])
        if (firsts == firsts[0]).all():
            first = c.number(int(firsts[0]))
        else:
            first = f"{define(firsts, 'firsts')}[{row}]"
        sign = "+" if direction > 0 else "-"
        return Lookup(f"({kind})(({kind}){first} {sign} ({kind}){call})", kind, name, function)
    values = np.concatenate([s.values for s in table.staircases])
    at = f"{begin} + ({row}) + {call}" if row else call
    return Lookup(f"({kind}){define(values, 'values')}[{at}]", kind, name, function)


def _row(table: Table, define: Define) -> str:
    """Return the number of the function of the element ``n``; ``""`` where there is one for all."""
    if not table.axes:
        return ""
    if table.axes == tuple(range(len(table.shape))):
        place = "n"
    else:
        (axis,) = table.axes
        inner = int(np.prod(table.shape[axis + 1 :], dtype=np.int64))
        place = f"n / {inner}" if inner > 1 else "n"
        if axis > 0:
            place = f"({place}) % {table.shape[axis]}"
    if np.array_equal(table.rows.ravel(), np.arange(table.rows.size)):
        return place
    return f"{define(table.rows, 'rows')}[{place}]"
