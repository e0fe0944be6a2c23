"""Paths to models, data and configurations; the library's own doors read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantlib.analysis.workbench import Workbench
from quantlib.cli.console import note
from quantlib.core.config import QuantizationConfig
from quantlib.data import load_data, synthetic_data
from quantlib.errors import ConfigurationError, OptionsError
from quantlib.graph.loader import load_model

if TYPE_CHECKING:
    from pathlib import Path


MAX_CONFIG_BYTES = 16 * 2**20


def open_bench(
    model: Path, data: Path | None, *, synthetic: bool, output: str | None = None
) -> Workbench:
    """Load a model and its data; notes what was decided while reading.

    Raises
    ------
    OptionsError
        Neither data nor `synthetic`, or both; or the model has no `output`.
    ModelLoadError, UnsupportedOpError, DataLoadError
        One of them cannot be read.
    """
    if synthetic and data is not None:
        raise OptionsError(f"got DATA ({data}) and --synthetic; give one of them.")
    if not synthetic and data is None:
        raise OptionsError("DATA is missing; give a .npz, .npy or .csv file, or --synthetic.")
    graph = load_model(model)
    found = synthetic_data(graph) if data is None else load_data(data, graph)
    for line in graph.notes:
        note(f"{graph.name}: {line}")
    for line in found.notes:
        note(f"{found.name}: {line}")
    return Workbench(graph, found, output=output)


def read_config(path: Path) -> QuantizationConfig:
    """Read a configuration that the app or ``--save-config`` wrote.

    Raises
    ------
    ConfigurationError
        No such file, or not a configuration; the message names file and JSON path.
    """
    if not path.is_file():
        raise ConfigurationError(f"{path}: there is no such file; check the path.")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise ConfigurationError(
            f"{path}: above {MAX_CONFIG_BYTES // 2**20} MiB; no configuration."
        )
    try:
        return QuantizationConfig.from_json(path.read_bytes())
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8 and say so."""
    path.write_text(text, encoding="utf-8")
    note(f"wrote {path}")
