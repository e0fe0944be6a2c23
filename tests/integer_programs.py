"""What the tests of integer programs run: modules, configurations, codes."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

import quantlib as ql
from quantlib.program.steps import Conv, MatMul
from tests.paths import GOLDEN
from tests.sample_data import NAMES as NAMES
from tests.sample_data import sample

IN_INTEGERS = [name for name in NAMES if name not in ("wine_sklearn", "digits_transformer")]
"""The samples without a float operator that mixes values: both others have a Softmax."""


def configuration(kind: str, n_bits: int) -> ql.QuantizationConfig:
    """Return a configuration by the word for what is special about it."""
    base = ql.QuantizationConfig.from_n_bits(n_bits)
    if kind.startswith("round"):
        bits = int(kind.removeprefix("round"))
        return ql.QuantizationConfig.from_n_bits(n_bits, rounding_threshold_bits=bits)
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "symmetric": {"weights": replace(base.weights, signed=True, symmetric=True)},
        "signed": {"activations": replace(base.activations, signed=True)},
        "channels": {"weights": replace(base.weights, per_channel=True)},
        "powers": {
            "weights": replace(base.weights, power_of_two=True),
            "activations": replace(base.activations, power_of_two=True),
        },
        "float": {"calibrate_on": "float"},
    }
    return base.replace(**changes[kind])


KINDS = ("plain", "round6", "round8", "symmetric", "signed", "channels", "powers", "float")


@cache
def module(name: str, kind: str, n_bits: int) -> ql.QuantizedModule:
    """Return a sample model in integers."""
    return sample(name).bench.module(configuration(kind, n_bits))


def several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def codes_of(made: ql.QuantizedModule, data: tuple[Any, ...]) -> tuple[Any, ...]:
    return several(made.quantize_input(*data))


def random_codes(made: ql.QuantizedModule, samples: int = 64, seed: int = 3) -> tuple[Any, ...]:
    """Draw codes from the whole grid of each input."""
    rng = np.random.default_rng(seed)
    shapes = [array.shape[1:] for array in made.calibration]
    return tuple(
        rng.integers(grid.qmin, grid.qmax, (samples, *shape), endpoint=True)
        for grid, shape in zip(made.inputs, shapes, strict=True)
        if grid is not None
    )


def extreme_codes(made: ql.QuantizedModule) -> tuple[Any, ...]:
    """Return the ends of each grid everywhere, and what takes first accumulators to theirs.

    For a first product with weights: the highest code under positive weights, the lowest under
    negative ones, and the reverse, for every output channel. A product that reads the input
    rearranged, as one of tokens does, gets the ends alone.
    """
    grids = [grid for grid in made.inputs if grid is not None]
    shapes = [array.shape[1:] for array in made.calibration]
    ends = [
        np.stack([np.full(shape, end) for end in (grid.qmin, grid.qmax)])
        for grid, shape in zip(grids, shapes, strict=True)
    ]
    if len(grids) > 1:
        return tuple(ends)
    first = next((s for s in made.program().steps if isinstance(s, MatMul | Conv)), None)
    if first is None:
        return tuple(ends)
    weights = first.centred
    patterns = [ends[0]]
    columns = weights.T if isinstance(first, MatMul) else weights
    if columns[0].ndim != len(shapes[0]):
        return tuple(ends)
    for column in columns[:16]:
        positive = np.broadcast_to(_tiled(column, shapes[0]) > 0, shapes[0])
        patterns += [
            np.where(top, grids[0].qmax, grids[0].qmin)[None] for top in (positive, ~positive)
        ]
    return (np.concatenate(patterns),)


def _tiled(column: Any, shape: tuple[int, ...]) -> Any:
    """Repeat a kernel over a sample."""
    if column.shape == shape:
        return column
    repeats = [-(-size // k) for size, k in zip(shape, column.shape, strict=True)]
    return np.tile(column, repeats)[tuple(slice(size) for size in shape)]


@cache
def operator_cases() -> dict[str, dict[str, Any]]:
    """Return the recorded small graphs by key."""
    cases = json.loads((GOLDEN / "operators.json").read_text())["cases"]
    return {case["key"]: case for case in cases}


@cache
def _operator_arrays() -> dict[str, Any]:
    return {
        key: array
        for name in ("operators", "operators_unfold")
        for key, array in np.load(GOLDEN / f"{name}.npz").items()
    }


def operator_module(key: str) -> tuple[ql.QuantizedModule, tuple[Any, ...]]:
    """Return the module of a recorded small graph, and its evaluation data."""
    case, arrays = operator_cases()[key], _operator_arrays()
    parts = [
        tuple(arrays[f"{key}.{part}{i}"] for i in range(case["inputs"])) for part in ("c", "e")
    ]
    made = ql.PostTrainingAffineQuantization(
        case["n_bits"],
        arrays[f"{key}.model"].tobytes(),
        rounding_threshold_bits=case["rounding_threshold_bits"],
    ).quantize_module(*parts[0])
    return made, parts[1]


MIXES_SAMPLES = frozenset({
    "encmatmul_out-4", "encmatmul_mid-4", "encmatmul_round-5", "matmul_two_round_6_6-6",
    "matmul_two_round_4_8-4", "matmul_two_round_out-5", "gemm_two_round_bias-5",
    "matmul_const_left_round-5", "gemm_two_round_transB-5", "gemm_two_round_transA-5",
})  # fmt: skip
"""Recorded graphs that multiply along the batch axis."""
