"""Tables of numbers: one sample per row."""

from __future__ import annotations

import csv
import io
import math
from array import array as numbers_of
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from quantlib.errors import DataLoadError
from quantlib.limits import above

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Graph

_COUNTED_ROWS = 3
"""From so many rows on, 0, 1, 2 or 1, 2, 3 is taken for counting."""

_INDEX_NAMES = frozenset(["", "index", "id", "row", "nr", "no", "#", "unnamed: 0"])
"""What a column that numbers the rows is called; pandas writes it without a name."""


def read_table(
    data: bytes, graph: Graph, name: str, notes: list[str]
) -> tuple[AnyArray, AnyArray | None]:
    """Read features and labels of a text table; every cell must be a number.

    Headers, index columns and label columns are recognized and said in `notes`; what is
    ambiguous raises DataLoadError with line and column. Rows become numbers one by one: memory
    is that of the numbers.
    """
    if len(graph.inputs) != 1:
        raise DataLoadError(
            f"{name}: a table feeds one input, the model has {len(graph.inputs)}; give an .npz."
        )
    info = graph.inputs[0]
    sizes = [size for size in info.shape[1:] if isinstance(size, int)]
    n_features = math.prod(sizes) if len(sizes) == len(info.shape) - 1 else None
    table, header = _numbers(data, name, notes)
    table = _without_index(table, header, n_features, notes)
    columns = table.shape[1]
    if n_features is None or columns == n_features:
        features, labels = table, None
    elif columns == n_features + 1:
        notes.append(f"the last of {columns} columns is taken as the label")
        features, labels = table[:, :-1], table[:, -1]
        if np.array_equal(labels, np.round(labels)):
            labels = labels.astype(np.int64)
    else:
        raise DataLoadError(
            f"{name}: {columns} columns; the model wants {n_features} features "
            f"({' x '.join(map(str, sizes))}), and at most one label column; leave out what is "
            "no feature."
        )
    return features.reshape(len(features), *sizes) if n_features else features, labels


def _without_index(
    table: AnyArray, header: list[str] | None, n_features: int | None, notes: list[str]
) -> AnyArray:
    """Leave out a first column that numbers the rows, where the model has no feature for it.

    It is one by its name; without a header, if it counts from 0 or 1.
    """
    rows, columns = table.shape
    first = table[:, 0]
    counts = first[0] in (0, 1) and np.array_equal(first, np.arange(rows) + first[0])
    if n_features is None:
        is_index = header is not None and not header[0] and counts
    elif columns - n_features not in (1, 2):
        return table
    elif header is None:
        is_index = counts and rows >= _COUNTED_ROWS
    else:
        is_index = header[0].lower() in _INDEX_NAMES
    if columns < 2 or not is_index:
        return table
    what = "counts the rows" if counts else "has the name of an index"
    notes.append(f"the first column {what} and was left out")
    return table[:, 1:]


def _numbers(data: bytes, name: str, notes: list[str]) -> tuple[AnyArray, list[str] | None]:
    """Return the cells of a table, float64, and the names of its columns if it has any."""
    text, delimiter = _text(data, name)
    rows = _rows(text, delimiter, name)
    first_line, first = next(rows, (0, []))
    if too_much := above("columns", len(first)):
        raise DataLoadError(f"{name}: {len(first)} columns, {too_much}; give one sample per row.")
    named = first if first[0] else first[1:]
    numbered = len(named) > 1 and named == [str(i) for i in range(len(named))]
    header = first if numbered or not any(_is_number(cell) for cell in named) else None
    if header is not None:
        notes.append("the first row is a header")
    else:
        rows = chain([(first_line, first)], rows)
    found = numbers_of("d")
    count = 0
    for line, row in rows:
        if len(row) != len(first):
            raise DataLoadError(
                f"{name}: line {line} has {len(row)} columns, the first row (line {first_line}) "
                f"{len(first)}; give every row as many."
            )
        count += 1
        if too_much := above("rows", count):
            raise DataLoadError(f"{name}: line {line} is row {count}, {too_much}; give fewer.")
        try:
            found.extend(map(float, row))
        except ValueError:
            raise _no_number(row, name, line) from None
        if "_" in "".join(row):
            raise _no_number(row, name, line)
    if not count:
        raise DataLoadError(
            f"{name}: the file holds a header and no rows; save the samples, one per row."
        )
    return np.frombuffer(found, dtype=np.float64).reshape(count, len(first)), header


def _text(data: bytes, name: str) -> tuple[str, str]:
    """Return the text and what separates its cells."""
    signatures = (
        (b"\xd0\xcf\x11\xe0", "a spreadsheet"), (b"%PDF", "a PDF document"),
        (b"\x1f\x8b", "a gzip archive"), (b"\x89PNG", "an image"), (b"PAR1", "a Parquet file"),
        (b"\x80\x04", "a pickle"), (b"\x80\x02", "a pickle"), (b"\x89HDF", "an HDF5 file"),
        (b"version https://git-lfs", "a git-lfs pointer; fetch the file itself"),
    )  # fmt: skip
    for signature, what in signatures:
        if data.startswith(signature):
            raise DataLoadError(f"{name}: this is {what}, not data; give .npz, .npy or .csv.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataLoadError(f"{name}: the text is UTF-16, not UTF-8; save it as UTF-8.")
    if b"\x00" in data[:4096]:
        raise DataLoadError(f"{name}: this is a binary file; give .npz, .npy or .csv.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataLoadError(f"{name}: the text is not UTF-8; save it as UTF-8.") from None
    beginning = text[:4096].lstrip()
    if beginning.startswith("<"):
        raise DataLoadError(f"{name}: this is a web page, not data; download the file itself.")
    if beginning.startswith("{"):
        raise DataLoadError(f"{name}: this is a JSON document; give .npz, .npy or .csv.")
    head = next((line for line in io.StringIO(text) if line.strip()), "")
    if not head:
        raise DataLoadError(f"{name}: the file holds no rows; save the samples, one per row.")
    delimiter = max(",;\t", key=head.count)
    if ";" in head and "," in text:
        raise DataLoadError(
            f"{name}: semicolons with commas look like decimal commas; save with decimal points."
        )
    if not head.count(delimiter) and len(head.split()) > 1 and all(map(_is_number, head.split())):
        raise DataLoadError(
            f"{name}: the {len(head.split())} numbers of the first line have no comma, semicolon "
            "or tab between them; separate the columns with commas."
        )
    return text, delimiter


def _rows(text: str, delimiter: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that hold anything, with the line on which each ends."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error:
        raise DataLoadError(
            f"{name}: line {reader.line_num} has a quotation mark that opens and does not close, "
            "or stands inside a cell, or a cell without an end; write numbers without quotation "
            "marks."
        ) from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _no_number(cells: list[str], name: str, line: int) -> DataLoadError:
    """Return the error for the first cell of a row that is no number."""
    column, cell = next((j, c) for j, c in enumerate(cells) if not _is_number(c))
    what = "is empty" if not cell else f"holds {cell[:40]!r}"
    return DataLoadError(f"{name}: line {line}, column {column + 1} {what}; give a number.")
