from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.sweep.executors import open_executor
from quantlib.analysis.sweep.grid import SweepGrid
from quantlib.analysis.sweep.measures import MEASURES
from quantlib.analysis.sweep.result import SweepResult, measure
from quantlib.analysis.sweep.run import split_known, sweep
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.cost import cost
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.workbench import Workbench
from tests import models, sweeps

BASE = ql.QuantizationConfig.from_n_bits(4)
BENCH = sweeps.bench()
CONFIGS = SweepGrid(weight_bits=(3, 5), activation_bits=(4, 6)).expand(BASE).configs


def run(
    workers: int, configs: Sequence[ql.QuantizationConfig] = CONFIGS
) -> dict[ql.QuantizationConfig, SweepResult]:
    with open_executor(workers=workers) as executor:
        return sweeps.by_config(sweep(BENCH, configs, executor=executor))


def test_figures_do_not_depend_on_the_number_of_workers() -> None:
    alone = run(1)
    assert set(alone) == set(CONFIGS)
    assert run(2) == run(4) == alone


def test_figures_are_those_of_the_evaluation_the_budget_and_the_cost() -> None:
    [result] = run(1, CONFIGS[:1]).values()
    found = evaluate(BENCH, CONFIGS[0])
    module = ql.quantize(BENCH.graph, BENCH.data.calibration, CONFIGS[0])
    budget = bit_width_budget(module)
    costs = cost(module)
    assert found.score is not None and found.widest is not None and budget.widest is not None
    assert result.config == CONFIGS[0]
    assert result.figures == {
        "sqnr_db": found.sqnr_db,
        "mse": found.mse,
        "cosine": found.cosine,
        "max_error": found.max_error,
        "agreement": found.agreement,
        "score": found.score.quantized_value,
        "widest_types_bits": max(layer.types.width_bits for layer in budget.layers),
        "widest_weights_bits": budget.widest.weights.width_bits,
        "widest_seen_bits": found.widest.width_bits,
        "needed_bits": budget.widest.weights.needed_bits,
        "counted_seen_bits": found.widest.width_bits,
        "counted_any_bits": budget.widest.weights.width_bits,
        "weight_bytes": found.weight_bytes,
        "bit_operations": costs.bit_operations,
        "table_lookups": costs.n_lookups,
        "elapsed_s": 0.0,
        "n_unseen": 0,
    }
    assert result["headroom_bits"] == min(layer.headroom_bits for layer in budget.layers)


def test_what_is_seen_is_within_what_weights_and_types_allow() -> None:
    for result in run(2).values():
        widths = (
            result["widest_seen_bits"],
            result["widest_weights_bits"],
            result["widest_types_bits"],
        )
        assert None not in widths
        assert list(widths) == sorted(widths, key=lambda bits: bits or 0)


def test_the_limit_moves_headroom_and_nothing_else() -> None:
    result = measure(BENCH, CONFIGS[0])
    other = result.under(CONFIGS[0].replace(limit_bits=8))
    assert result["headroom_bits"] is not None
    assert other["headroom_bits"] == pytest.approx(result["headroom_bits"] - 8)
    assert replace(other, config=result.config) == result
    tight = CONFIGS[0].replace(limit_bits=int(result["widest_seen_bits"] or 0))
    assert result.under(tight).fits
    assert not result.under(tight.replace(limit_bits=tight.limit_bits - 1)).fits


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[ql.QuantizationConfig]:
    """Collect what is computed."""
    seen: list[ql.QuantizationConfig] = []

    def watched(bench: Workbench, config: ql.QuantizationConfig) -> SweepResult:
        seen.append(config)
        return measure(bench, config)

    monkeypatch.setattr("quantlib.analysis.sweep.run.measure", watched)
    return seen


def test_equal_configurations_are_computed_once_and_answered_each(
    counted: list[ql.QuantizationConfig],
) -> None:
    limits = [config.replace(limit_bits=bits) for config in CONFIGS for bits in (8, 16)]
    found = run(2, [*limits, *CONFIGS])
    assert len(counted) == len(CONFIGS)
    assert set(found) == {*limits, *CONFIGS}


def test_known_results_answer_for_every_limit() -> None:
    known = [measure(BENCH, config) for config in CONFIGS[:2]]
    wanted = [config.replace(limit_bits=9) for config in CONFIGS]
    there, missing = split_known(wanted, known)
    assert [result.config for result in there] == wanted[:2]
    assert missing == tuple(wanted[2:])
    assert [result["sqnr_db"] for result in there] == [result["sqnr_db"] for result in known]


def test_a_cancel_drops_what_is_queued_and_keeps_what_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[ql.QuantizationConfig] = []
    running, release = threading.Barrier(3), threading.Event()

    def slow(bench: Workbench, config: ql.QuantizationConfig) -> SweepResult:
        started.append(config)
        running.wait(timeout=30)
        assert release.wait(timeout=30)
        return measure(bench, config)

    monkeypatch.setattr("quantlib.analysis.sweep.run.measure", slow)
    configs = SweepGrid(weight_bits=tuple(range(2, 9))).expand(BASE).configs
    asked = 0

    def go_on() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:  # the first answer let the work begin
            running.wait(timeout=30)
            threading.Timer(0.3, release.set).start()
            return False
        return True

    with ThreadPoolExecutor(2) as executor:
        found = list(sweep(BENCH, configs, executor=executor, go_on=go_on))
        later = executor.submit(lambda: len(started)).result(timeout=30)
    assert later == 2
    assert {result.config for result in found} == set(started)


def test_a_consumer_that_stops_stops_the_work(counted: list[ql.QuantizationConfig]) -> None:
    configs = SweepGrid(weight_bits=tuple(range(2, 17))).expand(BASE).configs
    with ThreadPoolExecutor(1) as executor:
        results = sweep(BENCH, configs, executor=executor)
        next(results)
        results.close()  # type: ignore[attr-defined]
    assert len(counted) < len(configs)


def test_a_configuration_that_cannot_be_applied_keeps_the_others() -> None:
    stray = CONFIGS[0].with_override("elsewhere", ql.LayerOverride(weights=ql.Scheme(3)))
    with open_executor(workers=1) as executor:
        found, error = sweeps.until_error(sweep(BENCH, [stray, *CONFIGS], executor=executor))
    assert {result.config for result in found} == set(CONFIGS)
    assert "1 of 5 configurations cannot be applied, 4 results are there" in str(error)
    assert "'elsewhere'" in str(error)


class Vanishing(Executor):
    """Answers two tasks, then its workers are gone."""

    def __init__(self) -> None:
        self.answers = 2

    def submit(self, work: Any, /, *arguments: Any, **rest: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.answers:
            self.answers -= 1
            future.set_result(work(*arguments, **rest))
        else:
            future.set_exception(BrokenProcessPool("a worker died"))
        return future


def test_workers_that_vanish_are_an_error_after_the_finished_results() -> None:
    found, error = sweeps.until_error(sweep(BENCH, CONFIGS, executor=Vanishing()))
    assert "workers of this sweep are gone" in str(error)
    assert len(found) <= 2
    assert all(sweeps.changed(result, elapsed_s=0.0) in run(1).values() for result in found)


def test_a_fault_of_ours_stays_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(bench: Workbench, config: ql.QuantizationConfig) -> SweepResult:
        raise ZeroDivisionError(bench, config)

    monkeypatch.setattr("quantlib.analysis.sweep.run.measure", faulty)
    with open_executor(workers=1) as executor, pytest.raises(ZeroDivisionError):
        list(sweep(BENCH, CONFIGS, executor=executor))


def test_an_operator_without_bounds_leaves_the_exact_widths_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("quantlib.analysis.widths.budget.bounds", lambda _: None)
    result = measure(BENCH, CONFIGS[0])
    assert (result["widest_types_bits"], result["widest_weights_bits"]) == (None, None)
    assert result["headroom_bits"] is None
    assert result["widest_seen_bits"] is not None


def test_a_model_of_float_operators_has_no_accumulator() -> None:
    model = models.build(
        [helper.make_node("Softmax", ["x"], ["y"])], inputs={"x": ["n", 6]}, outputs=["y"]
    )
    result = measure(sweeps.bench(ql.load_model(model)), BASE)
    assert result["widest_seen_bits"] is None and result["headroom_bits"] is None
    assert result.fits


@pytest.mark.slow
def test_processes_give_the_same_figures() -> None:
    with ProcessPoolExecutor(1) as executor:
        assert sweeps.by_config(sweep(BENCH, CONFIGS, executor=executor)) == run(1)


def test_rounded_accumulators_count_as_what_enters_their_tables() -> None:
    config = CONFIGS[0].replace(rounding_threshold_bits=4)
    result = measure(BENCH, config)
    module = ql.quantize(BENCH.graph, BENCH.data.calibration, config)
    seen = bit_width_budget(
        module, np.concatenate([BENCH.data.calibration[0], BENCH.data.evaluation[0]])
    )
    for criterion, bits in (
        (Criterion.SEEN, result["counted_seen_bits"]),
        (Criterion.ANY_INPUT, result["counted_any_bits"]),
    ):
        assert bits is not None
        # g1 is rounded, g2 leaves the graph as it is
        rounded, left = (layer.counted(criterion) for layer in seen.layers)
        assert rounded is not None and left is not None
        assert rounded.width_bits < seen["g1"].weights.width_bits
        assert bits == max(rounded.width_bits, left.width_bits)
        assert result.under_limit(int(bits)).fits_by(criterion)
        assert not result.under_limit(int(bits) - 1).fits_by(criterion)
    unbounded = sweeps.changed(result, counted_any_bits=None, widest_weights_bits=None)
    assert not unbounded.fits_by(Criterion.ANY_INPUT)
    # what an earlier release wrote
    older = sweeps.changed(result, counted_seen_bits=None).under_limit(
        int(result["widest_seen_bits"] or 0)
    )
    assert older.fits_by(Criterion.SEEN)
    assert not older.under_limit(older.config.limit_bits - 1).fits_by(Criterion.SEEN)


def test_every_measure_reads_its_figure() -> None:
    result = measure(BENCH, CONFIGS[0])
    assert set(result.figures) | {"headroom_bits"} == set(MEASURES)
    for name, entry in MEASURES.items():
        assert entry.of(result) == result[name]
        assert entry.kind.is_whole <= isinstance(result[name], int)
    assert MEASURES["score"].of(sweeps.changed(result, score=None)) is None


def test_a_scheduler_brings_its_own_workers() -> None:
    with (
        pytest.raises(ql.OptionsError, match="a cluster has its own"),
        open_executor("tcp://127.0.0.1:1", workers=2),
    ):
        pytest.fail("it opened")


@pytest.mark.parametrize("address", ["", "localhost", "host:8786", "http://host:80", "tcp://host"])
def test_what_is_no_address_of_a_scheduler_is_refused(address: str) -> None:
    with (
        pytest.raises(ql.OptionsError, match=r"as in tcp://host:8786"),
        open_executor(address),
    ):
        pytest.fail("it opened")


def test_a_scheduler_without_dask_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ql.OptionsError, match=r"install quantization-explorer\[dask\]"),
        open_executor("tcp://127.0.0.1:1"),
    ):
        pytest.fail("it opened")
