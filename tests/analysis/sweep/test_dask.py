"""Sweeps on a Dask cluster of two processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import quantlib as ql
from quantlib.analysis.sweep.executors import open_executor
from quantlib.analysis.sweep.grid import SweepGrid
from quantlib.analysis.sweep.run import sweep
from quantlib.analysis.workbench import Workbench
from tests import sweeps
from tests.paths import ROOT

distributed = pytest.importorskip("distributed")

pytestmark = [
    pytest.mark.slow,
    # asyncio.get_event_loop and sockets of a cluster that was ended are not ours
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BASE = ql.QuantizationConfig.from_n_bits(4)
GRID = SweepGrid(weight_bits=(2, 3, 4, 5), activation_bits=(3, 4, 5, 6))
CONFIGS = GRID.expand(BASE).configs
MANY = SweepGrid(weight_bits=tuple(range(2, 17)), activation_bits=tuple(range(2, 17))).expand(BASE)


@contextmanager
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start a scheduler here and two worker processes that find this code."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as started:
        yield started


def test_threads_and_processes_give_the_same_figures_and_the_model_travels_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = sweeps.bench()
    with open_executor(workers=1) as executor:
        alone = sweeps.by_config(sweep(bench, CONFIGS, executor=executor))
    packed: list[int] = []
    reduce = Workbench.__reduce__

    def counted(self: Workbench) -> Any:
        packed.append(1)
        return reduce(self)

    monkeypatch.setattr(Workbench, "__reduce__", counted)
    with cluster(monkeypatch) as here:
        with open_executor(here.scheduler_address) as executor:
            together = sweeps.by_config(sweep(bench, CONFIGS, executor=executor))
        assert len(packed) <= 2  # tasks carry a key; without it there would be 16
        with distributed.Client(here) as client:
            given = client.get_executor()
            assert sweeps.by_config(sweep(bench, CONFIGS, executor=given)) == alone
            stray = CONFIGS[0].with_override("elsewhere", ql.LayerOverride(weights=ql.Scheme(3)))
            none, error = sweeps.until_error(sweep(bench, [stray], executor=given))
            assert not none
            assert "'elsewhere'" in str(error)
    assert together == alone


def test_a_cluster_that_is_closed_during_a_sweep_keeps_finished_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with cluster(monkeypatch) as here, open_executor(here.scheduler_address) as executor:
        found, error = sweeps.until_error(
            sweep(sweeps.bench(), MANY.configs, executor=executor),
            each=lambda n: here.close() if n == 3 else None,
        )
    assert "workers of this sweep are gone" in str(error)
    with open_executor(workers=1) as threads:
        configs = [result.config for result in found]
        again = sweeps.by_config(sweep(sweeps.bench(), configs, executor=threads))
    assert 3 <= len(found) < len(MANY.configs)
    assert sweeps.by_config(found) == again


def test_workers_that_are_killed_end_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantlib.analysis.sweep.run.PATIENCE_S", 0.5)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with (
        distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as here,
        _lone_worker(here.scheduler_address) as worker,
        open_executor(here.scheduler_address) as executor,
    ):
        found, error = sweeps.until_error(
            sweep(sweeps.bench(), MANY.configs, executor=executor),
            each=lambda n: os.kill(worker, signal.SIGKILL) if n == 2 else None,
        )
    assert "workers of this sweep are gone" in str(error)
    assert 2 <= len(found) < len(MANY.configs)


@contextmanager
def _lone_worker(address: str) -> Iterator[int]:
    """Run a worker without a nanny that would start it again; yield its process id."""
    with subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny",
         "--nthreads", "1", "--no-dashboard"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            with distributed.Client(address) as client:
                client.wait_for_workers(1, timeout=60)
            yield process.pid
        finally:
            process.kill()


def test_a_scheduler_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantlib.analysis.sweep.executors.CONNECT_S", 1)
    with (
        pytest.raises(ql.SweepError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"),
        open_executor("tcp://127.0.0.1:9"),
    ):
        pytest.fail("it opened")


def test_a_cluster_without_workers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantlib.analysis.sweep.executors.CONNECT_S", 1)
    with (
        distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as here,
        open_executor(here.scheduler_address) as executor,
        pytest.raises(ql.SweepError, match="takes no data"),
    ):
        list(sweep(sweeps.bench(), CONFIGS, executor=executor))
