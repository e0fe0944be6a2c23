"""Results of a sweep as lines of text, and back."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from quantlib.analysis.sweep.measures import KEPT, MEASURES
from quantlib.analysis.sweep.result import SweepResult
from quantlib.core.config import QuantizationConfig
from quantlib.errors import DataLoadError, OptionsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quantlib.analysis.sweep.measures import Measure
    from quantlib.analysis.workbench import Workbench

FORMAT = "quantlib sweep"
VERSION = 1

SHOWN = ("weight_bits", "activation_bits", *MEASURES)
"""What a line holds beside the configuration, for whoever reads it as a table."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Which model and data results belong to.

    Parameters
    ----------
    model, data : str
        SHA-256 digests, hexadecimal.
    """

    model: str
    data: str

    @classmethod
    def of(cls, bench: Workbench) -> Origin:
        """Return the origin of results of a workbench."""
        return cls(bench.graph.digest, bench.data.digest)

    def check(self, found: Origin, *, where: str) -> None:
        """Raise OptionsError when results come from somewhere else."""
        for name in ("model", "data"):
            mine, other = getattr(self, name), getattr(found, name)
            if mine != other:
                raise OptionsError(
                    f"{where}: results of another model or data (the {name} have digest "
                    f"{str(other)[:12]}, not {mine[:12]}); give another file."
                )


def header_line(origin: Origin) -> str:
    """Return the first line of a JSON-lines file."""
    head = {"format": FORMAT, "version": VERSION, "model": origin.model, "data": origin.data}
    return json.dumps(head) + "\n"


def json_line(result: SweepResult) -> str:
    """Return a result as a line of JSON; infinities, which JSON lacks, are words."""
    return json.dumps(_record(result), allow_nan=False) + "\n"


def json_lines(results: Iterable[SweepResult], origin: Origin) -> str:
    """Return results as the text of a JSON-lines file."""
    return header_line(origin) + "".join(map(json_line, results))


def csv_header() -> str:
    """Return the column names of a CSV file."""
    return _csv_line(("model", "data", *SHOWN, "config"))


def csv_line(result: SweepResult, origin: Origin) -> str:
    """Return a result as a line of CSV; a figure that is missing is an empty cell."""
    record = {**_record(result), "model": origin.model, "data": origin.data}
    record["config"] = json.dumps(record["config"])
    cells = [record[name] for name in ("model", "data", *SHOWN, "config")]
    return _csv_line(["" if cell is None else cell for cell in cells])


def read_lines(
    lines: Sequence[str], origin: Origin, *, name: str, is_csv: bool = False
) -> tuple[SweepResult, ...]:
    """Return the results in complete lines of a file.

    Parameters
    ----------
    lines : sequence of str
        The file's lines, the header first.
    origin : Origin
        Where the results must come from.
    name : str
        The file's name, for messages.
    is_csv : bool
        CSV; else JSON lines.

    Raises
    ------
    DataLoadError
        Another file, or a damaged line; the message names it.
    OptionsError
        Results of another model or data.
    """
    if not lines:
        return ()
    columns: tuple[str, ...] = ()
    if is_csv:
        columns = _columns(lines[0], where=f"{name}, line 1")
    else:
        origin.check(_read_header(lines[0], where=f"{name}, line 1"), where=f"{name}, line 1")
    found = []
    for position, line in enumerate(lines[1:], start=2):
        where = f"{name}, line {position}"
        try:
            record = _csv_record(line, columns) if is_csv else json.loads(line)
            config = QuantizationConfig.from_json(json.dumps(record["config"]))
            figures = {member: _figure(entry, record) for member, entry in KEPT.items()}
            told = Origin(record["model"], record["data"]) if is_csv else origin
        except (
            KeyError,
            TypeError,
            ValueError,
            ArithmeticError,
            RecursionError,
            StopIteration,
            csv.Error,
        ):
            raise DataLoadError(f"{where}: not a result of a sweep; give another file.") from None
        origin.check(told, where=where)
        found.append(SweepResult(config, figures))
    return tuple(found)


def results_table(results: Sequence[SweepResult]) -> pd.DataFrame:
    """Return results as a table: a row each, the configuration in columns and as JSON.

    Returns
    -------
    DataFrame
        Whole numbers that may be missing are ``Int64``, choices that may be automatic
        ``boolean``.
    """
    configs = [result.config for result in results]
    columns: dict[str, Any] = {}
    for kind in ("weights", "activations"):
        schemes = [getattr(config, kind) for config in configs]
        columns[f"{kind[:-1]}_bits"] = [scheme.n_bits for scheme in schemes]
        for member in ("signed", "symmetric"):
            values = [getattr(scheme, member) for scheme in schemes]
            columns[f"{kind}_{member}"] = pd.array(values, dtype="boolean")
        columns[f"{kind}_estimator"] = [scheme.estimator.name for scheme in schemes]
    columns["weights_per_channel"] = [config.weights.per_channel for config in configs]
    for member in ("input_bits", "output_bits"):
        columns[member] = [getattr(config, member) for config in configs]
    rounding = [config.rounding_threshold_bits for config in configs]
    columns["rounding_threshold_bits"] = pd.array(rounding, dtype="Int64")
    columns["calibrate_on"] = [config.calibrate_on for config in configs]
    columns["limit_bits"] = [config.limit_bits for config in configs]
    for member, entry in MEASURES.items():
        figures: Any = [entry.of(result) for result in results]
        columns[member] = pd.array(figures, dtype="Int64" if entry.kind.is_whole else "Float64")
    columns["config"] = [json.dumps(_config_document(config)) for config in configs]
    return pd.DataFrame(columns)


def _record(result: SweepResult) -> dict[str, Any]:
    config = result.config
    return {
        "weight_bits": config.weights.n_bits,
        "activation_bits": config.activations.n_bits,
        **{member: _plain(entry.of(result)) for member, entry in MEASURES.items()},
        "config": _config_document(config),
    }


def _plain(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(float(value))


def _config_document(config: QuantizationConfig) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(config.to_json())
    return document


def _read_header(line: str, *, where: str) -> Origin:
    try:
        head = json.loads(line)
        is_ours = isinstance(head, dict) and head.get("format") == FORMAT
    except (ValueError, RecursionError):
        is_ours = False
    if not is_ours:
        raise DataLoadError(f"{where}: not the header of a sweep; give another file.")
    if head.get("version") != VERSION:
        raise DataLoadError(
            f"{where}: version {head.get('version')!r}; this release reads {VERSION}."
        )
    return Origin(str(head.get("model")), str(head.get("data")))


def _columns(line: str, *, where: str) -> tuple[str, ...]:
    """Return the columns of a CSV file; those of measures that came later may be missing."""
    try:
        names = tuple(next(csv.reader([line]), []))
    except csv.Error:
        names = ()
    wanted = {"model", "data", "config", *(m for m, e in KEPT.items() if not e.optional)}
    if not wanted <= set(names) or not set(names) <= {"model", "data", "config", *SHOWN}:
        raise DataLoadError(f"{where}: not the columns of a sweep; give another file.")
    return names


def _csv_record(line: str, columns: tuple[str, ...]) -> dict[str, Any]:
    record: dict[str, Any] = dict(zip(columns, next(csv.reader([line])), strict=True))
    return {**record, "config": json.loads(record["config"])}


def _figure(entry: Measure, record: dict[str, Any]) -> float | int | None:
    """Return a figure as it was before it was written; raises ValueError for no number.

    Files of older versions lack the measures that came later; a result then has none.
    """
    value = record.get(entry.member)
    if value is None or value == "":
        if not entry.optional:
            raise ValueError(entry.member)
        return None
    return int(value) if entry.kind.is_whole else float(value)


def _csv_line(cells: Any) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()
