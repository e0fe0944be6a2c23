"""Speed in units of F: one float pass of the same samples with every intermediate as output.

Run with ``pytest -m benchmark_suite tests/benchmarks -s``. Prints ratios and memory; asserts
nothing about time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx.backend.test
import pytest

import quantlib as ql
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.cost import cost
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.feasible import feasible_region
from quantlib.execution.float_run import float_batches
from tests.paths import SAMPLES

pytestmark = pytest.mark.benchmark_suite

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"


def fastest(work: Callable[[], object], *, repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def float_pass(graph: ql.Graph, x: Any) -> None:
    names = [name for node in graph.nodes for name in node.outputs if name]
    for _ in float_batches(graph, (x,), tensors=names):
        pass


def report(name: str, graph: ql.Graph, calibration: Any, evaluation: Any) -> None:
    quantizer = ql.PostTrainingAffineQuantization(8, graph)
    module = quantizer.quantize_module(calibration)
    f_both = fastest(lambda: float_pass(graph, calibration), repeats=3)
    f = fastest(lambda: float_pass(graph, evaluation), repeats=3)
    f_both += f
    forward = fastest(lambda: module.run(evaluation), repeats=3)
    both = fastest(lambda: quantizer.quantize_module(calibration).run(evaluation), repeats=3)
    print(
        f"\n{name}: F {f:.4f} s; integer forward {forward:.4f} s = {forward / f:.2f} F; "
        f"quantize + forward {both:.4f} s = {both / f_both:.2f} F of both sets"
    )


@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn", "digits_resnet"])
def test_sample_models(name: str) -> None:
    graph = ql.load_model(SAMPLES / f"{name}.onnx")
    data = np.load(SAMPLES / f"{name}.npz")
    report(name, graph, data["calibration"], data["evaluation"])


@pytest.mark.parametrize("name", ["resnet50", "shufflenet", "squeezenet"])
def test_light_models_at_224_pixels(name: str) -> None:
    graph = ql.load_model(LIGHT / f"light_{name}.onnx")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3, 224, 224)).astype(np.float32)
    report(name, graph, x[:2], x[2:])


MEASURE_MEMORY = r"""
import re, sys
from pathlib import Path
import numpy as np
import quantlib as ql
def peak():  # ru_maxrss would hold the peak of the process that started this one
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
graph = ql.load_model(sys.argv[1])
x = np.random.default_rng(0).uniform(size=(int(sys.argv[2]), 1, 8, 8)).astype(np.float32)
ql.PostTrainingAffineQuantization(8, graph).quantize_module(x[:2])
before = peak()
ql.PostTrainingAffineQuantization(8, graph).quantize_module(x)
print((peak() - before) // 1024)
"""


@pytest.mark.parametrize("samples", [100, 1000, 10_000, 40_000])
def test_memory_of_calibration(samples: int) -> None:
    """In a process of its own: how far calibration raises the peak, MiB."""
    arguments = [sys.executable, "-c", MEASURE_MEMORY, str(SAMPLES / "digits_resnet.onnx")]
    grown = subprocess.run(
        [*arguments, str(samples)],
        env={**os.environ, "PYTHONPATH": str(SAMPLES.parent)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    print(f"\n{samples} calibration samples: peak memory grows by {grown.strip()} MiB")


def test_bit_width_budgets() -> None:
    """Without data, and the widths that fit, 11 x 11 of them for every layer."""
    data = np.load(SAMPLES / "digits_cnn.npz")
    rng = np.random.default_rng(0)
    cases = [
        ("digits_cnn", SAMPLES / "digits_cnn.onnx", data["calibration"]),
        ("resnet50", LIGHT / "light_resnet50.onnx", rng.normal(size=(2, 3, 224, 224))),
    ]
    for name, path, x in cases:
        quantizer = ql.PostTrainingAffineQuantization(6, path)
        module = quantizer.quantize_module(x.astype(np.float32))
        facts = layer_facts(module)
        whole = fastest(lambda module=module: bit_width_budget(module), repeats=3)  # type: ignore[misc]
        spent = fastest(lambda module=module: cost(module), repeats=3)  # type: ignore[misc]
        fits = fastest(
            lambda facts=facts: [feasible_region(entry, 16) for entry in facts],  # type: ignore[misc]
            repeats=1,
        )
        print(f"\n{name}: budget {whole:.4f} s; cost {spent:.4f} s; what fits {fits:.4f} s")
