"""Where words go: results to standard output, notes and complaints to standard error."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from rich.console import JustifyMethod

PIPE_WIDTH = 400
"""Columns of a table that no terminal limits."""


class ExitCode(IntEnum):
    """What the command says to the shell."""

    DONE = 0
    NO = 1
    REFUSED = 2
    INTERRUPTED = 130


def printable(words: str) -> str:
    """Return words from outside without what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in words)


def output() -> Console:
    """Return the console of results; a pipe gets whole lines."""
    return _wide(Console(highlight=False, markup=False, emoji=False))


def notices() -> Console:
    """Return the console of notes, progress and complaints."""
    return _wide(Console(stderr=True, highlight=False, markup=False, emoji=False))


def _wide(console: Console) -> Console:
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def say(words: str = "") -> None:
    """Write a line of the answer."""
    output().print(printable(words), soft_wrap=True)


def note(words: str) -> None:
    """Write a line that is not part of the answer."""
    notices().print(printable(words), style="dim", soft_wrap=True)


def complain(words: str) -> None:
    """Write why the command cannot do what it was asked."""
    notices().print(f"quantlib: {printable(words)}", soft_wrap=True)


def write(text: str) -> None:
    """Write text as it is: scripts and JSON."""
    output().out(text, end="", highlight=False)


def write_json(document: Any) -> None:
    """Write a JSON document; it holds no NaN and no infinity."""
    write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[str] = ()
) -> None:
    """Draw a table.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : iterable of sequence of str
        Cells, one per heading.
    words : collection of str
        Columns that hold words; the others hold figures and align right.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        justify: JustifyMethod = "left" if column in words else "right"
        table.add_column(column, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    output().print(table)
