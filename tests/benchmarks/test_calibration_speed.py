"""Times of calibration. Run with ``pytest -m benchmark_suite tests/benchmarks -s``.

Prints milliseconds; asserts nothing about time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from quantlib.calibration.estimators import estimate_channel_ranges, estimate_range
from quantlib.calibration.statistics import measure
from quantlib.calibration.sufficiency import assess_samples
from quantlib.core.estimator import ESTIMATORS, Estimator
from quantlib.core.options import QuantizationOptions

pytestmark = pytest.mark.benchmark_suite


def milliseconds(work: Callable[[], object], *, repeats: int = 7) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1e3 * min(times)


def test_a_million_values() -> None:
    rng = np.random.default_rng(0)
    for shape in ((1000, 1000), (250_000, 4), (1_000_000,)):
        x = rng.normal(size=shape).astype(np.float32)
        print(f"\nmeasure {shape}: {milliseconds(partial(measure, x)):.1f} ms", end="")
    parts = [measure(part) for part in np.split(x, 2)]
    print(f"; merge {milliseconds(lambda: parts[0].merge(parts[1])):.2f} ms")


def test_every_estimator() -> None:
    rng = np.random.default_rng(1)
    statistics = measure(rng.laplace(size=(1000, 1000)).astype(np.float32))
    weights = rng.normal(size=(64, 576)).astype(np.float32)
    affine = QuantizationOptions(4)
    symmetric = QuantizationOptions(4, is_signed=True, is_symmetric=True)
    for name in ESTIMATORS:
        chosen = Estimator(name)
        figures = [
            milliseconds(partial(estimate_range, chosen, statistics, o), repeats=3)
            for o in (affine, symmetric)
        ] + [
            milliseconds(partial(estimate_channel_ranges, chosen, weights, o, 0), repeats=1)
            for o in (affine, symmetric)
        ]
        shown = ", ".join(f"{figure:.1f}" for figure in figures)
        print(
            f"\n{name}: tensor affine, symmetric, 64 channels affine, symmetric: {shown} ms", end=""
        )


def test_three_hundred_samples() -> None:
    rng = np.random.default_rng(2)
    low, high = -rng.exponential(30, size=300), rng.exponential(40, size=300)
    options = QuantizationOptions(8)
    took = milliseconds(lambda: assess_samples(low, high, options, rng=np.random.default_rng(3)))
    print(f"\n300 samples, 10 sizes, 200 resamples: {took:.1f} ms")
