"""Tables of numbers: one sample per row."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

import numpy as np

from quantlib.errors import DataLoadError

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Graph


def read_table(
    data: bytes, graph: Graph, name: str, notes: list[str]
) -> tuple[AnyArray, AnyArray | None]:
    """Read features and labels of a text table; every cell must be a number.

    Headers, index columns and label columns are recognized and said in `notes`; what is
    ambiguous raises DataLoadError with line and column.
    """
    if len(graph.inputs) != 1:
        raise DataLoadError(
            f"{name}: a table feeds one input, the model has {len(graph.inputs)}; give an .npz."
        )
    rows, start = _csv_rows(data, name, notes)
    info = graph.inputs[0]
    sizes = [size for size in info.shape[1:] if isinstance(size, int)]
    n_features = math.prod(sizes) if len(sizes) == len(info.shape) - 1 else None
    table = np.empty((len(rows), len(rows[0])), dtype=np.float64)
    for i, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise DataLoadError(
                f"{name}: line {start + i} has {len(row)} columns, the first row {len(rows[0])}; "
                "give every row as many."
            )
        for j, cell in enumerate(row):
            table[i, j] = _number(cell, name, start + i, j + 1)
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
            f"({' x '.join(map(str, sizes))}), and at most one label column."
        )
    return features.reshape(len(features), *sizes) if n_features else features, labels


def _csv_rows(data: bytes, name: str, notes: list[str]) -> tuple[list[list[str]], int]:
    """Split text into rows of cells; return them and the line number of the first."""
    if b"\x00" in data[:4096]:
        raise DataLoadError(f"{name}: this is a binary file; give .npz, .npy or .csv.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataLoadError(f"{name}: the text is not UTF-8; save it as UTF-8.") from None
    if text.lstrip().startswith("<"):
        raise DataLoadError(f"{name}: this is a web page, not data; download the file itself.")
    head = text.lstrip().splitlines()[0] if text.strip() else ""
    if not head:
        raise DataLoadError(f"{name}: the file holds no rows.")
    delimiter = max(",;\t", key=head.count)
    if delimiter == ";" and "," in text:
        raise DataLoadError(
            f"{name}: semicolons with commas look like decimal commas; save with decimal points."
        )
    rows = []
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True, strict=True)
    first_line = 0
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                first_line = first_line or reader.line_num
                rows.append([cell.strip() for cell in row])
    except csv.Error as error:
        raise DataLoadError(f"{name}: line {reader.line_num}: {error}.") from None
    numbered = rows and rows[0] == [str(i) for i in range(len(rows[0]))] and len(rows[0]) > 1
    index = [row[0] for row in rows[1:]] == [str(i) for i in range(len(rows) - 1)]
    if rows and rows[0] and not rows[0][0] and len(rows) > 1 and index:
        notes.append("the first column counts the rows and was left out")
        rows = [row[1:] for row in rows]
        numbered = rows[0] == [str(i) for i in range(len(rows[0]))]
    if rows and (numbered or not any(_is_number(cell) for cell in rows[0])):
        notes.append("the first row is a header")
        rows, first_line = rows[1:], first_line + 1
    if not rows:
        raise DataLoadError(f"{name}: the file holds a header and no rows.")
    return rows, first_line


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, name: str, line: int, column: int) -> float:
    if _is_number(cell) and "_" not in cell:
        return float(cell)
    what = "is empty" if not cell else f"holds {cell[:40]!r}"
    raise DataLoadError(f"{name}: line {line}, column {column} {what}; give a number.")
