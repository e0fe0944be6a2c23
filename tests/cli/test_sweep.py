from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import quantlib as ql
from quantlib.analysis.sweep.grid import SweepGrid
from quantlib.analysis.sweep.run import sweep as sweep_results
from quantlib.errors import SweepError
from tests.cli.running import DIGITS, IRIS, measured, refused, run, save
from tests.paths import ROOT, SAMPLES

GRID = ("--weight-bits", "2-3", "--activation-bits", "4", "--activation-bits", "6,7")
BASE = ql.QuantizationConfig.from_n_bits(4)
CONFIGS = SweepGrid(weight_bits=(2, 3), activation_bits=(4, 6, 7)).expand(BASE).configs


def rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()[1:]]
    with path.open(newline="") as stream:
        return [{**row, "config": json.loads(row["config"])} for row in csv.DictReader(stream)]


def configs_in(path: Path) -> list[ql.QuantizationConfig]:
    return [ql.QuantizationConfig.from_json(json.dumps(row["config"])) for row in rows(path)]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[ql.QuantizationConfig]:
    """Collect the configurations that are computed, in the order they are asked for."""
    seen: list[ql.QuantizationConfig] = []

    def watched(bench: Any, configs: Any, **rest: Any) -> Any:
        seen.extend(configs)
        return sweep_results(bench, configs, **rest)

    monkeypatch.setattr("quantlib.cli.sweeping.sweep_results", watched)
    return seen


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_the_file_holds_each_configuration_with_the_figures_measured(
    ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"found.{ending}"
    run("sweep", *IRIS, *GRID, "--out", path)
    assert sorted(map(repr, configs_in(path))) == sorted(map(repr, CONFIGS))
    for row, config in zip(rows(path), configs_in(path), strict=True):
        found = measured(IRIS, config)
        assert found.score is not None and found.widest is not None
        assert float(row["sqnr_db"]) == found.sqnr_db
        assert float(row["score"]) == found.score.quantized_value
        assert int(row["widest_seen_bits"]) == found.widest.width_bits
        assert int(row["weight_bits"]) == config.weights.n_bits
        assert int(row["activation_bits"]) == config.activations.n_bits


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_what_the_file_holds_is_not_computed_again(
    ending: str, tmp_path: Path, computed: list[ql.QuantizationConfig]
) -> None:
    path = tmp_path / f"found.{ending}"
    run("sweep", *IRIS, "--weight-bits", 3, "--activation-bits", 6, "--out", path)
    assert len(computed) == 1
    table = run("sweep", *IRIS, *GRID, "--out", path)
    assert len(computed) == len(CONFIGS)
    assert "1 of 6 configurations are there already" in table.stderr
    before = path.read_bytes()
    again = run("sweep", *IRIS, *GRID, "--out", path)
    assert len(computed) == len(CONFIGS)
    assert path.read_bytes() == before
    assert again.stdout == table.stdout


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_last_line_that_was_cut_short_is_computed_again(
    ending: str, tmp_path: Path, computed: list[ql.QuantizationConfig]
) -> None:
    path = tmp_path / f"found.{ending}"
    run("sweep", *IRIS, *GRID, "--workers", 1, "--out", path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    computed.clear()
    assert "cut short" in run("sweep", *IRIS, *GRID, "--out", path).stderr
    assert len(computed) == 1
    assert set(configs_in(path)) == set(CONFIGS)
    assert path.read_bytes().startswith(whole[: whole[:-1].rfind(b"\n") + 1])
    path.write_bytes(whole + whole[-200:-1])
    run("sweep", *IRIS, *GRID, "--out", path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"my only copy", id="no-line"),
        pytest.param(b"my only copy\n", id="text"),
        pytest.param(b"{}\n", id="no-result"),
        pytest.param(b"[1]\n", id="list"),
        pytest.param(b"\xff\xfe\x00\n\n", id="binary"),
        pytest.param(b"a,b\n1,2\n", id="another-table"),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_file_of_something_else_is_refused_and_left_alone(
    ending: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / f"notes.{ending}"
    path.write_bytes(content)
    assert path.name in refused("sweep", *IRIS, *GRID, "--out", path)
    assert path.read_bytes() == content


def test_results_of_another_model_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    run("sweep", *IRIS, "--weight-bits", 3, "--activation-bits", 6, "--out", path)
    before = path.read_bytes()
    assert "another model or data" in refused("sweep", *DIGITS, *GRID, "--out", path)
    assert "another model or data" in refused("sweep", IRIS[0], "--synthetic", "--out", path)
    assert path.read_bytes() == before


def test_another_ending_is_refused() -> None:
    assert "must end in .jsonl or .csv" in refused("sweep", *IRIS, "--out", "found.txt")


def test_the_best_that_fit_come_first() -> None:
    found = run("sweep", *IRIS, "--weight-bits", "2-8", "--activation-bits", "4-8", "--limit", 12)
    lines = found.stdout.splitlines()
    assert lines[0].startswith("35 of 35 configurations, ")
    assert lines[-1] == "… 15 more; --top lists them"
    listed = [line.split() for line in lines[2:-1]]
    fits = [row[-3] == "yes" for row in listed]
    assert any(fits), "some fit"
    assert fits == sorted(fits, reverse=True)
    best = [float(row[4]) for row, good in zip(listed, fits, strict=True) if good]
    assert best == sorted(best, reverse=True)


def test_what_is_not_varied_is_as_the_configuration_says(tmp_path: Path) -> None:
    base = ql.QuantizationConfig(
        ql.Scheme(4, True, narrow=True), ql.Scheme(4, power_of_two=True), 5, 5, 6, 11
    )
    path = tmp_path / "found.jsonl"
    words = ("--weight-bits", 3, "--activation-bits", 4, "--weights-symmetric", "yes")
    config = save(base, tmp_path / "a.json")
    run("sweep", *IRIS, "--config", config, *words, "--limit", 9, "--out", path)
    scheme = base.weights.replace(n_bits=3, symmetric=True)
    assert configs_in(path) == [base.replace(weights=scheme, limit_bits=9)]


def test_contradicting_pairs_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    words = [*GRID, "--out", path]
    for word in ("yes", "no"):
        words += ["--weights-signed", word, "--weights-symmetric", word]
    run("sweep", *IRIS, *words)
    pairs = {(c.weights.signed, c.weights.symmetric) for c in configs_in(path)}
    assert pairs == {(True, True), (True, False), (False, False)}


def test_contradictions_are_counted_aloud() -> None:
    words = ("--weights-signed", "no", "--weights-symmetric", "yes", "--weights-symmetric", "no")
    found = run("sweep", *IRIS, *GRID, *words)
    assert "6 combinations are left out" in found.stderr
    assert found.stdout.startswith("6 of 6 configurations")


def test_every_choice_can_be_varied(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    words = "--weight-bits 3 --activation-bits 4 --input-bits auto --input-bits 6 --output-bits 7"
    words += " --weights-per-channel no --weights-per-channel yes --weights-estimator mse"
    words += " --activations-estimator percentile:99.9 --rounding off --rounding 6"
    words += " --calibrate-on quantized --calibrate-on float"
    run("sweep", *IRIS, *words.split(), "--out", path)
    expected = SweepGrid(
        weight_bits=(3,),
        activation_bits=(4,),
        input_bits=(None, 6),
        output_bits=(7,),
        weights_per_channel=(False, True),
        weights_estimator=(ql.Estimator("mse"),),
        activations_estimator=(ql.Estimator("percentile", 99.9),),
        rounding_threshold_bits=(None, 6),
        calibrate_on=("quantized", "float"),
    ).expand(BASE)
    assert len(expected.configs) == 16
    assert set(configs_in(path)) == set(expected.configs)


def test_a_parquet_copy_holds_the_results(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "found.parquet"
    run("sweep", *IRIS, *GRID, "--parquet", path)
    table = pd.read_parquet(path)
    assert {ql.QuantizationConfig.from_json(text) for text in table["config"]} == set(CONFIGS)


def test_another_limit_finds_the_results_there(
    tmp_path: Path, computed: list[ql.QuantizationConfig]
) -> None:
    path = tmp_path / "found.jsonl"
    run("sweep", *IRIS, *GRID, "--out", path)
    tight = run("sweep", *IRIS, *GRID, "--limit", 4, "--out", path)
    assert len(computed) == len(CONFIGS)
    assert "6 of 6 configurations, 0 fit their limit" in tight.stdout


def test_workers_that_are_gone_leave_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "found.jsonl"

    def lost(*arguments: Any, **rest: Any) -> Any:
        yield next(sweep_results(*arguments, **rest))
        raise SweepError("the workers of this sweep are gone")

    monkeypatch.setattr("quantlib.cli.sweeping.sweep_results", lost)
    result = run("sweep", *IRIS, *GRID, "--out", path, code=2)
    assert "workers of this sweep are gone" in result.stderr
    assert result.stdout.startswith("1 of 6 configurations")
    assert len(rows(path)) == 1


def test_a_scheduler_and_threads_together_are_refused() -> None:
    words = ("--scheduler", "tcp://127.0.0.1:9", "--workers", 2)
    assert "a cluster has its own" in refused("sweep", *IRIS, *GRID, *words)


def test_ctrl_c_keeps_what_is_finished_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "found.jsonl"

    def interrupted(*arguments: Any, **rest: Any) -> Any:
        found = sweep_results(*arguments, **rest)
        yield next(found)
        yield next(found)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("quantlib.cli.sweeping.sweep_results", interrupted)
        result = run("sweep", *IRIS, *GRID, "--out", path, code=130)
    assert "stopped after 2 of 6 configurations" in result.stderr
    assert result.stdout.startswith("2 of 6 configurations")
    kept = path.read_bytes()
    assert len(rows(path)) == 2
    run("sweep", *IRIS, *GRID, "--out", path)
    assert path.read_bytes().startswith(kept)
    assert set(configs_in(path)) == set(CONFIGS)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no interrupt to one process")
def test_a_process_that_is_interrupted_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    model, data = SAMPLES / "digits_resnet.onnx", SAMPLES / "digits_resnet.npz"
    words = ["sweep", model, data, "--workers", 1, "--weight-bits", "2-16", "--out", path]
    process = subprocess.Popen(
        [sys.executable, "-m", "quantlib.cli", *map(str, words)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # a background shell starts its children with the interrupt ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 120
        while not (path.exists() and path.read_bytes().count(b"\n") >= 3):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert b"stopped after" in complaint
    assert b"Traceback" not in complaint
    assert 2 <= len(set(configs_in(path))) == len(rows(path)) < 105
