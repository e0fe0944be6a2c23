"""The sample models with their data, loaded once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import quantlib as ql
from quantlib.analysis.float_model import FloatModel
from quantlib.analysis.workbench import Workbench
from quantlib.data import Dataset, load_data
from tests.paths import SAMPLES

CARDS: dict[str, dict[str, Any]] = {
    card["name"]: card for card in json.loads((SAMPLES / "cards.json").read_text())
}
NAMES = list(CARDS)
"""Every sample, in display order; without the variants that some are compared with."""


@dataclass(frozen=True, slots=True)
class Sample:
    graph: ql.Graph
    data: Dataset
    reference: FloatModel
    bench: Workbench


@cache
def sample(name: str) -> Sample:
    graph = ql.load_model((SAMPLES / f"{name}.onnx").read_bytes(), name=name)
    data = load_data((SAMPLES / f"{name}.npz").read_bytes(), graph, name=name)
    bench = Workbench(graph, data)
    return Sample(graph, data, bench.float_model, bench)
