from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import quantlib as ql

FOLDER = Path(__file__).parent / "golden" / "concrete_ml"
MODELS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


@dataclass(frozen=True)
class Model:
    graph: ql.Graph
    calibration: Any
    evaluation: Any
    cases: dict[str, dict[str, Any]]
    arrays: dict[str, Any]


@cache
def model(name: str) -> Model:
    folder = FOLDER / name
    data = np.load(folder / "data.npz")
    entries = json.loads((folder / "reference.json").read_text())["cases"]
    return Model(
        graph=ql.load_model(folder / "model.onnx"),
        calibration=data["calib_x"],
        evaluation=data["eval_x"],
        cases={entry["key"]: entry for entry in entries},
        arrays=dict(np.load(folder / "reference.npz")),
    )


def quantizer_cases() -> list[dict[str, Any]]:
    entries = json.loads((FOLDER / "quantizers.json").read_text())["cases"]
    return [dict(entry) for entry in entries]


def case_ids(*, accepted: bool = True) -> list[tuple[str, str]]:
    return [
        (name, entry["key"])
        for name in MODELS
        for entry in json.loads((FOLDER / name / "reference.json").read_text())["cases"]
        if ("error" not in entry) == accepted
    ]


def statistics(entries: dict[str, Any]) -> dict[str, ql.MinMaxQuantizationStats]:
    """Ranges by tensor name, in the dtypes that they were measured in."""
    found = {}
    for name, entry in entries.items():
        kind = np.dtype(entry["stats_dtype"]).type
        found[name] = ql.MinMaxQuantizationStats(rmax=kind(entry["rmax"]), rmin=kind(entry["rmin"]))
    return found


def quantized(
    name: str, case: dict[str, Any], stats: dict[str, ql.MinMaxQuantizationStats] | None
) -> ql.QuantizedModule:
    found = model(name)
    quantizer = ql.PostTrainingAffineQuantization(
        case["n_bits"], found.graph, case["rounding_threshold_bits"]
    )
    return quantizer.quantize_module(found.calibration, statistics=stats)
