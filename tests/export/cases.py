"""Modules to export: one per operator, and the samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from tests import models
from tests.ops.test_conformance import CASES
from tests.sample_data import sample

ROWS = 40

NARROW: Any = {
    "weights": ql.Scheme(8, power_of_two=True),
    "activations": ql.Scheme(8, signed=True, narrow=True),
}
PER_CHANNEL: Any = {"weights": ql.Scheme(5, symmetric=True, per_channel=True)}

CONFIGS = {
    "8 bits": ql.QuantizationConfig.from_n_bits(8),
    "4 bits": ql.QuantizationConfig.from_n_bits(4),
    "2 bits": ql.QuantizationConfig.from_n_bits(2),
    "10 bits": ql.QuantizationConfig.from_n_bits(10),
    "5 bits rounded to 6": ql.QuantizationConfig.from_n_bits(5, rounding_threshold_bits=6),
    "5 bits per channel": ql.QuantizationConfig.from_n_bits(5).replace(**PER_CHANNEL),
    "8 bits narrow": ql.QuantizationConfig.from_n_bits(8).replace(**NARROW),
}

UNEVEN = {"average-pool-excluding-pad", "average-pool-ceil"}
"""Means over windows of unequal size: rounded by a step that differs between positions."""

EVERY = 3
"""One of so many cases runs by default, the others with ``-m exhaustive``."""


def sampled(cases: Sequence[Any], *, every: int = EVERY) -> list[Any]:
    """Return cases as parameters; all but one of `every` are marked."""
    marks = {False: (), True: (pytest.mark.exhaustive,)}
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=marks[i % every > 0])
        for i, case in enumerate(cases)
    ]


PAIRS = [(case, config) for case in CASES for config in CONFIGS]


@cache
def operator_module(case: str, config: str) -> tuple[ql.QuantizedModule, tuple[Any, ...]]:
    """Quantize the graph of a conformance case on data of its own."""
    nodes, inputs, constants = CASES[case][:3]
    graph = ql.load_model(models.build(nodes, inputs=inputs, outputs=["y"], constants=constants))
    rng = np.random.default_rng(0)
    data = tuple(
        rng.normal(size=[ROWS if isinstance(size, str) else size for size in shape]).astype(
            np.float32
        )
        for shape in inputs.values()
    )
    return ql.quantize(graph, data, CONFIGS[config]), data


def sample_module(name: str, config: ql.QuantizationConfig) -> ql.QuantizedModule:
    return sample(name).bench.module(config)
