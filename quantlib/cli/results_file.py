"""Results of a sweep as a file that grows line by line and is read again to go on."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields
from typing import IO, TYPE_CHECKING, Any

from quantlib.analysis.sweep import SweepResult
from quantlib.cli.console import note
from quantlib.cli.documents import config_document, number
from quantlib.core.config import QuantizationConfig
from quantlib.errors import DataLoadError, OptionsError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from quantlib.cli.sources import Bench

FIGURES = tuple(field.name for field in fields(SweepResult) if field.name != "config")
WHOLE = frozenset({"widest_bits", "weight_bytes"})
COLUMNS = ("model", "data", "weight_bits", "activation_bits", *FIGURES, "config")


class ResultsFile:
    """A .jsonl or .csv file with one finished configuration per line.

    Lines carry the digests of model and data; ``config`` is what `QuantizationConfig.from_json`
    reads. A last line that was cut short is dropped.

    Parameters
    ----------
    path : Path
        The ending decides the form; an existing file is read first.
    bench : Bench
        Which model and data the results belong to.

    Raises
    ------
    OptionsError
        Another ending, or results of another model or other data.
    DataLoadError
        The file holds something else.

    Attributes
    ----------
    done : dict of QuantizationConfig to SweepResult
        What the file holds.
    """

    def __init__(self, path: Path, bench: Bench) -> None:
        if path.suffix not in {".jsonl", ".csv"}:
            raise OptionsError(f"--out is {path}; its name must end in .jsonl or .csv.")
        self.path = path
        self.done: dict[QuantizationConfig, SweepResult] = {}
        self._is_csv = path.suffix == ".csv"
        self._digests = {"model": bench.graph.digest, "data": bench.data.digest}
        kept = self._read(path.read_bytes()) if path.exists() else 0
        self._stream: IO[bytes] = path.open("r+b" if kept else "wb")
        self._stream.truncate(kept)
        self._stream.seek(kept)
        if not kept and self._is_csv:
            self._append(_csv_line(COLUMNS))

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def add(self, result: SweepResult) -> None:
        """Append a result; it is on its way to the disk when this returns."""
        self.done[result.config] = result
        record = {
            **self._digests,
            "weight_bits": result.config.weights.n_bits,
            "activation_bits": result.config.activations.n_bits,
            **{name: number(getattr(result, name)) for name in FIGURES},
            "config": config_document(result.config),
        }
        if not self._is_csv:
            self._append(json.dumps(record, allow_nan=False) + "\n")
            return
        record["config"] = json.dumps(record["config"])
        self._append(_csv_line(["" if record[c] is None else record[c] for c in COLUMNS]))

    def _append(self, line: str) -> None:
        self._stream.write(line.encode())
        self._stream.flush()

    def _read(self, content: bytes) -> int:
        """Take in what the file holds; return how many bytes of it are whole lines."""
        kept = content.rfind(b"\n") + 1
        if content and not kept:
            raise DataLoadError(f"{self.path}: no line is complete; delete it or name another.")
        lines = content[:kept].decode("utf-8", errors="replace").splitlines()
        if self._is_csv and lines and tuple(next(csv.reader(lines[:1]), ())) != COLUMNS:
            raise DataLoadError(f"{self.path}, line 1: not the columns of a sweep; name another.")
        for position, line in enumerate(lines[int(self._is_csv) :], start=1 + int(self._is_csv)):
            result = self._parsed(line, where=f"{self.path}, line {position}")
            self.done[result.config] = result
        if kept < len(content):
            note(f"{self.path}: the last line was cut short; it is computed again")
        return kept

    def _parsed(self, line: str, *, where: str) -> SweepResult:
        try:
            if self._is_csv:
                record: Any = dict(zip(COLUMNS, next(csv.reader([line])), strict=True))
                record["config"] = json.loads(record["config"])
            else:
                record = json.loads(line)
            digests = {name: record[name] for name in self._digests}
            config = QuantizationConfig.from_json(json.dumps(record["config"]))
            figures: dict[str, Any] = {name: _figure(name, record[name]) for name in FIGURES}
        except (KeyError, TypeError, ValueError, RecursionError, StopIteration, csv.Error):
            raise DataLoadError(f"{where}: not a result of a sweep; name another file.") from None
        if digests != self._digests:
            raise OptionsError(f"{where}: a result of another model or data; name another file.")
        return SweepResult(config=config, **figures)


def _figure(name: str, value: Any) -> float | int | None:
    """Return a figure as it was before it was written."""
    if value is None or value == "":
        return None
    return int(value) if name in WHOLE else float(value)


def _csv_line(cells: Any) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()
