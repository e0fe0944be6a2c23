"""Seconds of a sweep on threads and on a Dask cluster, and what sharing layers would bring.

Run with ``pytest -m benchmark_suite tests/benchmarks/test_sweep_speed.py -s``.
"""

from __future__ import annotations

import time

import pytest

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.sweep.executors import open_executor
from quantlib.analysis.sweep.grid import SweepGrid
from quantlib.analysis.sweep.run import sweep
from quantlib.analysis.workbench import Workbench
from quantlib.data import load_data
from tests.paths import SAMPLES

pytestmark = pytest.mark.benchmark_suite

BASE = ql.QuantizationConfig.from_n_bits(4)
WIDTHS = SweepGrid(weight_bits=tuple(range(2, 12)), activation_bits=tuple(range(3, 9)))
ROUNDING = SweepGrid(
    weight_bits=(3, 4, 5), rounding_threshold_bits=(None, 5, 6, 7, 8), output_bits=(5, 6, 7, 8)
)


def bench() -> Workbench:
    graph = ql.load_model(SAMPLES / "digits_cnn.onnx")
    content = (SAMPLES / "digits_cnn.npz").read_bytes()
    made = Workbench(graph, load_data(content, graph, name="digits_cnn.npz"))
    for _ in made.float_model.batches():
        pass
    return made


def seconds(scheduler: str | None, workers: int | None) -> float:
    space, configs = bench(), WIDTHS.expand(BASE).configs
    assert len(configs) == 60
    with open_executor(scheduler, workers=workers) as executor:
        started = time.perf_counter()
        assert len(list(sweep(space, configs, executor=executor))) == 60
        return time.perf_counter() - started


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_of_sixty_configurations(workers: int) -> None:
    print(f"\nsweep of 60, {workers} threads: {seconds(None, workers):.2f} s")


def test_a_sweep_of_sixty_configurations_on_two_dask_processes() -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        first, second = (seconds(cluster.scheduler_address, None) for _ in range(2))
    print(f"\nsweep of 60, 2 Dask processes: {first:.2f} s, then {second:.2f} s")


@pytest.mark.parametrize("grid", [WIDTHS, ROUNDING], ids=["widths", "rounding"])
def test_sharing_layers_within_a_sweep(grid: SweepGrid) -> None:
    made, configs = bench(), grid.expand(BASE).configs
    for space in (made.without_memory(), made):
        started = time.perf_counter()
        for config in configs:
            evaluate(space, config)
        took = time.perf_counter() - started
        shared = f"{space.memo.hits} of {space.memo.hits + space.memo.misses} shared"
        print(f"\n{len(configs)} configurations, layers {shared}: {took:.2f} s", end="")
