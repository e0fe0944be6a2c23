"""Tables in C: whole, or as thresholds, whichever takes fewer bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import quantlib.export.c.text as c
from quantlib.program.cost import consecutive, edges, first_edges, table_cost

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from quantlib.arrays import IntArray
    from quantlib.program.steps import Table

    Define: TypeAlias = Callable[[IntArray, str], str]

_SEARCH = """static size_t {name}(const {kind} *t, size_t n, {argument} v)
{{
    size_t below = 0; /* thresholds that are not above v */
    while (n > 0) {{
        const size_t half = n / 2;
        if (({argument})t[below + half] <= v) {{
            below += half + 1;
            n -= half + 1;
        }} else {{
            n = half;
        }}
    }}
    return below;
}}"""


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


def lookup(table: Table, define: Define) -> Lookup:
    """Define a table's arrays; return how it is read."""
    row = _row(table, define)
    found = table_cost(table)
    kind = c.signed_type(table.magnitude)
    reach = max(abs(table.source_low), abs(table.source_high)) + table.width
    wide = c.signed_type(reach)
    if found.whole_bytes <= found.threshold_bytes:
        entries = define(table.entries(), "table")
        start = f"(size_t)({row}) * {table.width} + " if row else ""
        at = f"(size_t)(({wide}){{v}} - ({wide}){c.number(table.source_low)})"
        return Lookup(f"({kind}){entries}[{start}{at}]", kind)
    if not any(len(s.thresholds) for s in table.staircases):  # constants
        values = np.array([s.values[0] for s in table.staircases])
        first = f"{define(values, 'values')}[{row}]" if row else c.number(int(values[0]))
        return Lookup(f"({kind}){first}", kind)
    return _searched(table, row, kind, wide, define, relative=found.relative)


def _searched(
    table: Table, row: str, kind: str, wide: str, define: Define, *, relative: bool
) -> Lookup:
    """Return a table that counts the thresholds not above the integer."""
    every = edges(table, relative=relative)
    argument = c.wider(wide, "int32_t")
    edge_kind = c.c_type(int(every.min()), int(every.max()))
    name = f"count_{c.short(edge_kind)}_{c.short(argument)}"
    function = _SEARCH.format(name=name, kind=edge_kind, argument=argument)
    array = define(every, "thresholds")
    value = f"({argument}){{v}}"
    if relative:
        firsts = first_edges(table)
        first = f"{define(firsts, 'origins')}[{row}]" if row else c.number(int(firsts[0]))
        value += f" - ({argument}){first}"
    counts = [len(s.thresholds) for s in table.staircases]
    begin = ""
    if row:
        starts = define(np.cumsum([0, *counts]), "starts")
        begin = f"{starts}[{row}]"
        call = f"{name}({array} + {begin}, (size_t)({starts}[({row}) + 1] - {begin}), {value})"
    else:
        call = f"{name}({array}, {counts[0]}, {value})"
    direction = consecutive(table)
    if direction:
        values = np.array([s.values[0] for s in table.staircases])
        if (values == values[0]).all():
            first = c.number(int(values[0]))
        else:
            first = f"{define(values, 'firsts')}[{row}]"
        sign = "+" if direction > 0 else "-"
        return Lookup(f"({kind})(({kind}){first} {sign} ({kind}){call})", kind, name, function)
    values = np.concatenate([s.values for s in table.staircases])
    at = f"(size_t){begin} + (size_t)({row}) + {call}" if row else call
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
