"""Names and tables as a browser shows them: plain text, safe files, images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from quantlib.analysis.reports import Evaluation
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.scheme import LayerOverride

_ESCAPED = str.maketrans({c: f"\\{c}" for c in r"\`*_{}[]()<>#+-.!|~$:&"})

_LINKS = re.compile(r"(?<=https:)(?=//)|(?<=http:)(?=//)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)
"""Where browsers' Markdown finds addresses in plain text, which no backslash keeps it from."""

_JOINER = "\u2060"
"""Takes no room on screen, and is part of no address."""

_RUN_BY_SPREADSHEETS = "=+-@\t\r\n"


def plain(name: str, limit: int = 60) -> str:
    """Return a name from outside as Markdown that shows it as typed, cut to `limit`."""
    clean = "".join(c if c.isprintable() else "�" for c in name)
    short = clean if len(clean) <= limit else clean[: limit - 1] + "…"
    return _LINKS.sub(_JOINER, short).translate(_ESCAPED)


def file_tag(chosen: QuantizationConfig) -> str:
    """Return what downloads add to their names: "w4a8"."""
    return f"w{chosen.weights.n_bits}a{chosen.activations.n_bits}"


MAX_NAMED = 4


def overrides(found: Sequence[tuple[str, LayerOverride]]) -> str:
    """Return which layers differ, in Markdown: "2 layers differ: c1 (W 3), c2 (A 5)"."""
    parts = []
    for layer, override in found[:MAX_NAMED]:
        schemes = (("W", override.weights), ("A", override.activations))
        bits = ", ".join(f"{letter} {s.n_bits}" for letter, s in schemes if s is not None)
        parts.append(f"{plain(layer, 24)} ({bits})")
    rest = len(found) - len(parts)
    named = ", ".join(parts) + (f" and {rest} more" if rest else "")
    return f"{len(found)} {'layer differs' if len(found) == 1 else 'layers differ'}: {named}"


def places(found: Evaluation) -> dict[str, int]:
    """Return each layer's place in the model, counted from 1; all screens number by it."""
    return {layer.name: i + 1 for i, layer in enumerate(found.layers)}


def safe_name(name: str) -> str:
    """Return a name from outside as part of a file name: letters, digits, dot, dash, underscore."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    return kept.strip("._")[:60] or "model"


def grey_image(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Return a 2-D array as a grey image, 16 pixels per value, smallest value black."""
    low, high = float(values.min()), float(values.max())
    grey = (values - low) / ((high - low) or 1.0) * 255
    return np.asarray(grey.astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1))


def csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV in UTF-8; text that a spreadsheet would run is quoted with '.

    Column names are text like any other.
    """
    safe = table.rename(columns=guarded)
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = [guarded(cell) for cell in safe[column]]
    # with both signs in the line end, either is quoted where it stands in a cell
    return safe.to_csv(index=False, lineterminator="\r\n").encode()


def guarded(cell: Any) -> Any:
    """Return a cell as it is, but text that a spreadsheet would run with ' in front."""
    if isinstance(cell, str) and cell and cell[0] in _RUN_BY_SPREADSHEETS:
        return f"'{cell}"
    return cell
