"""A file of results that grows line by line and is read again to go on."""

from __future__ import annotations

import importlib.util
from typing import IO, TYPE_CHECKING

from quantlib.analysis.sweep import records
from quantlib.analysis.sweep.result import SweepResult, same_numbers
from quantlib.errors import DataLoadError, OptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from quantlib.analysis.sweep.records import Origin
    from quantlib.core.config import QuantizationConfig

ENDINGS = (".jsonl", ".csv")


def read_results(
    content: bytes, origin: Origin, *, name: str, is_csv: bool = False
) -> tuple[tuple[SweepResult, ...], int]:
    """Return the results in a file's content, and how many of its bytes are whole lines.

    Parameters
    ----------
    content : bytes
        JSON lines or CSV, as `ResultsFile` writes them; what follows the last line break was
        cut short and is dropped.
    origin : Origin
        Which model and data the results must belong to.
    name : str
        For messages.
    is_csv : bool
        CSV; else JSON lines.

    Raises
    ------
    DataLoadError
        The content is something else.
    OptionsError
        Results of another model or data.
    """
    kept = content.rfind(b"\n") + 1
    if content and not kept:
        raise DataLoadError(f"{name}: no line is complete; delete the file or give another.")
    # not splitlines(): only line breaks of ours end a line
    lines = content[:kept].decode("utf-8", errors="replace").split("\n")[:-1]
    return records.read_lines(lines, origin, name=name, is_csv=is_csv), kept


class ResultsFile:
    """A .jsonl or .csv file with one finished configuration per line.

    JSON lines begin with a header that holds the digests of model and data; every line of CSV
    holds them. ``config`` is what `QuantizationConfig.from_json` reads.

    Parameters
    ----------
    path : Path
        The ending decides the form; an existing file is read first and continued.
    origin : Origin
        Which model and data the results belong to.

    Raises
    ------
    OptionsError
        Another ending, or results of another model or data; the file is left alone.
    DataLoadError
        The file holds something else; it is left alone.

    Attributes
    ----------
    results : list of SweepResult
        What the file holds, each configuration once.
    was_cut : bool
        Whether the last line was cut short and dropped.
    """

    def __init__(self, path: Path, origin: Origin) -> None:
        if path.suffix not in ENDINGS:
            raise OptionsError(
                f"the results file is {path}; its name must end in {' or '.join(ENDINGS)}."
            )
        self.path, self.origin = path, origin
        self.results: list[SweepResult] = []
        self._seen: set[QuantizationConfig] = set()
        self._is_csv = path.suffix == ".csv"
        content = path.read_bytes() if path.exists() else b""
        found, kept = read_results(content, origin, name=str(path), is_csv=self._is_csv)
        self.was_cut = kept < len(content)
        for result in found:
            self._keep(result)
        self._stream: IO[bytes] = path.open("r+b" if kept else "wb")
        self._stream.truncate(kept)
        self._stream.seek(kept)
        if not kept:
            self._append(records.csv_header() if self._is_csv else records.header_line(origin))

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
        """Append a result unless its numbers are there; it is with the system when this returns."""
        if self._keep(result):
            line = (
                records.csv_line(result, self.origin) if self._is_csv else records.json_line(result)
            )
            self._append(line)

    def _keep(self, result: SweepResult) -> bool:
        """Remember a result; return whether it is new."""
        numbers = same_numbers(result.config)
        if numbers in self._seen:
            return False
        self._seen.add(numbers)
        self.results.append(result)
        return True

    def _append(self, line: str) -> None:
        self._stream.write(line.encode())
        self._stream.flush()


def check_parquet() -> None:
    """Raise OptionsError where nothing here can write Parquet."""
    if importlib.util.find_spec("pyarrow") is None:
        raise OptionsError(
            "Parquet needs pyarrow; install it, or write .jsonl or .csv and convert that."
        )


def write_parquet(path: Path, results: Sequence[SweepResult]) -> None:
    """Write results as a Parquet table, as `quantlib.analysis.sweep.records.results_table` has it.

    Raises
    ------
    OptionsError
        pyarrow is not installed.
    """
    check_parquet()
    records.results_table(results).to_parquet(path, engine="pyarrow", index=False)
