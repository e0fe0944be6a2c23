"""Speed in units of F: one float pass of the same samples with every intermediate as output.

Run with ``pytest -m benchmark_suite tests/benchmarks -s``. Prints ratios and peak memory; asserts
nothing about time.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx.backend.test
import pytest

import quantlib as ql
from quantlib.analysis.reference import FloatReference
from quantlib.analysis.sweep import grid, sweep
from quantlib.data import load_data
from quantlib.execution.float_run import float_batches

pytestmark = pytest.mark.benchmark_suite

SAMPLES = Path(__file__).parents[2] / "sample_models"
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
    fastest(lambda: module.run(evaluation), repeats=3)
    fastest(lambda: quantizer.quantize_module(calibration).run(evaluation), repeats=3)
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_of_sixty_configurations(workers: int) -> None:
    graph = ql.load_model(SAMPLES / "digits_cnn.onnx")
    content = (SAMPLES / "digits_cnn.npz").read_bytes()
    data = load_data(content, graph, name="digits_cnn.npz")
    reference = FloatReference(graph, data.evaluation)
    base = ql.QuantizationConfig.from_n_bits(4)
    configs = grid(base, weight_bits=range(2, 12), activation_bits=range(3, 9))
    assert len(configs) == 60
    time.perf_counter()
    with ThreadPoolExecutor(workers) as executor:
        list(sweep(graph, data, configs, reference=reference, executor=executor))


@pytest.mark.parametrize("samples", [100, 1000])
def test_memory_of_calibration(samples: int) -> None:
    graph = ql.load_model(SAMPLES / "digits_resnet.onnx")
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(samples, 1, 8, 8)).astype(np.float32)
    ql.PostTrainingAffineQuantization(8, graph).quantize_module(x)
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
