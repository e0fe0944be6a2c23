"""Models that people bring: those recorded in the folder, with their right outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import quantlib as ql
from tests.paths import ROOT
from tests.verdicts import sqnr_db

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "tests" / "cases"
NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))


@dataclass(frozen=True)
class Case:
    path: Path
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def case(start: str) -> Case:
    """Return the case whose name begins with `start`: ``05`` or ``05_resize_to_sizes``."""
    (name,) = (name for name in NAMES if name.startswith(start))
    arrays = np.load(FOLDER / f"{name}.npz")
    inputs, outputs = (
        tuple(arrays[key] for key in sorted(arrays) if key.startswith(kind)) for kind in "xy"
    )
    return Case(FOLDER / f"{name}.onnx", inputs, outputs)


def quality_db(
    model: Any, inputs: tuple[Any, ...], outputs: tuple[Any, ...], *, n_bits: int = 8
) -> float:
    """Load and quantize on the inputs themselves; return the SQNR of all outputs, dB."""
    module = ql.PostTrainingAffineQuantization(n_bits, model).quantize_module(*inputs)
    found: Any = module.forward(*inputs)
    return sqnr_db(outputs, found if isinstance(found, tuple) else (found,))
