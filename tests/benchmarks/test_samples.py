"""Time to load each sample, and from a fresh start to its first figure.

Run with ``pytest -m benchmark_suite tests/benchmarks/test_samples.py -s``.
"""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.workbench import Workbench
from quantlib.data import load_data
from tests.paths import SAMPLES
from tests.sample_data import NAMES

pytestmark = pytest.mark.benchmark_suite

REPEATS = 3


def times(name: str, config: ql.QuantizationConfig) -> tuple[float, float, float]:
    """Return seconds to load the model, to read its data, and to evaluate, nothing remembered."""
    model, data = ((SAMPLES / f"{name}.{ending}").read_bytes() for ending in ("onnx", "npz"))
    marks = [time.perf_counter()]
    graph = ql.load_model(model, name=name)
    marks.append(time.perf_counter())
    read = load_data(data, graph, name=name)
    marks.append(time.perf_counter())
    found = evaluate(Workbench(graph, read), config)
    marks.append(time.perf_counter())
    assert found.layers
    loading, reading, evaluating = (b - a for a, b in pairwise(marks))
    return loading, reading, evaluating


def test_time_to_load_and_to_the_first_figure(capsys: pytest.CaptureFixture[str]) -> None:
    config = ql.QuantizationConfig.from_n_bits(6)
    rows = [f"{'sample':<20} {'load, ms':>9} {'data, ms':>9} {'evaluate, ms':>13} {'all, ms':>9}"]
    for name in NAMES:
        best = min((times(name, config) for _ in range(REPEATS)), key=sum)
        loading, reading, evaluating = (1e3 * part for part in best)
        rows.append(f"{name:<20} {loading:>9.1f} {reading:>9.1f} {evaluating:>13.1f} "
                    f"{1e3 * sum(best):>9.1f}")  # fmt: skip
    with capsys.disabled():
        print("\n" + "\n".join(rows))
