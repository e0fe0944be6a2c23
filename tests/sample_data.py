"""The sample models with their data, loaded once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import quantlib as ql
from quantlib.analysis.reference import FloatReference
from quantlib.data import Dataset, load_data

FOLDER = Path(__file__).parents[1] / "sample_models"
SAMPLES = sorted(path.stem for path in FOLDER.glob("*.onnx"))


@dataclass(frozen=True, slots=True)
class Sample:
    graph: ql.Graph
    data: Dataset
    reference: FloatReference


@cache
def sample(name: str) -> Sample:
    graph = ql.load_model((FOLDER / f"{name}.onnx").read_bytes(), name=name)
    data = load_data((FOLDER / f"{name}.npz").read_bytes(), graph, name=name)
    return Sample(graph, data, FloatReference(graph, data.evaluation))
