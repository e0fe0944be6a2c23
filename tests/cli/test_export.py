from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.data import load_data
from quantlib.export.archive import data_archive
from tests.cli.running import DIGITS, IRIS, refused, run, save
from tests.paths import ROOT

CONFIG = ql.QuantizationConfig.from_n_bits({"op_weights": 3, "op_inputs": 5})


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return save(CONFIG, tmp_path / "a.json")


def printed(script: Path) -> str:
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=script.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def widths(files: tuple[Path, Path]) -> list[str]:
    graph = ql.load_model(files[0])
    data = load_data(files[1].read_bytes(), graph, name=files[1].name)
    report = ql.quantize(graph, data.calibration, CONFIG).bitwidth_and_range_report()
    return [f"{n}: {e['bitwidth']} bits, range {e['range']}" for n, e in report.items()]


def test_the_script_repeats_the_configuration(config: Path, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    run("export", *DIGITS, "--config", config, "-o", script)
    assert printed(script).splitlines()[1:] == widths(DIGITS)


def test_without_a_path_the_script_is_all_that_standard_output_gets(
    config: Path, tmp_path: Path
) -> None:
    script = tmp_path / "run.py"
    run("export", *IRIS, "--config", config, "-o", script)
    assert run("export", *IRIS, "--config", config).stdout == script.read_text()


def test_data_that_a_script_cannot_read_are_written_for_it(config: Path, tmp_path: Path) -> None:
    table, script = tmp_path / "d.csv", tmp_path / "run.py"
    np.savetxt(table, np.load(IRIS[1])["calibration"], delimiter=",")
    words = ("export", IRIS[0], table, "--config", config, "-o", script)
    assert "--save-data" in refused(*words)
    assert not script.exists()
    run(*words, "--save-data", tmp_path / "d.npz")
    assert printed(script).splitlines()[1:] == widths((IRIS[0], table))


def test_generated_data_need_a_file_too(config: Path, tmp_path: Path) -> None:
    words = ("export", IRIS[0], "--synthetic", "--config", config)
    assert "--save-data" in refused(*words)
    run(*words, "--save-data", tmp_path / "d.npz")
    assert set(np.load(tmp_path / "d.npz")) == {"calibration", "evaluation"}
    assert ".npz" in refused(*words, "--save-data", tmp_path / "d.bin")


def test_the_configuration_comes_out_in_the_present_schema(config: Path, tmp_path: Path) -> None:
    run("export", *IRIS, "--config", config, "--to", "config", "-o", tmp_path / "b.json")
    assert ql.QuantizationConfig.from_json((tmp_path / "b.json").read_bytes()) == CONFIG


def test_concrete_ml_gets_its_widths_or_a_reason(config: Path, tmp_path: Path) -> None:
    words = run("export", *DIGITS, "--config", config, "--to", "concrete-script").stdout
    assert f"N_BITS = {CONFIG.n_bits}" in words
    signed = CONFIG.replace(weights=ql.Scheme(3, True))
    path = save(signed, tmp_path / "b.json")
    words = refused("export", *DIGITS, "--config", path, "--to", "concrete-script")
    assert "signs of weights" in words


def test_a_path_that_would_leave_its_quotes_is_refused(config: Path, tmp_path: Path) -> None:
    model = tmp_path / 'a"b.onnx'
    model.write_bytes(IRIS[0].read_bytes())
    assert "rename it" in refused("export", model, IRIS[1], "--config", config)


@pytest.mark.parametrize("labels", [None, np.arange(4)])
def test_an_archive_reads_back_as_the_data_it_was_made_from(labels: np.ndarray | None) -> None:
    graph = ql.load_model(IRIS[0])
    arrays = {"calibration": np.eye(4, dtype=np.float32), "evaluation": np.ones((4, 4), np.float32)}
    content = _npz(arrays if labels is None else {**arrays, "labels": labels})
    data = load_data(content, graph, name="d")
    again = load_data(data_archive(data, inputs=["x"]), graph, name="d")
    assert np.array_equal(again.calibration[0], arrays["calibration"])
    assert np.array_equal(again.evaluation[0], arrays["evaluation"])
    assert (again.labels is None) == (labels is None)
    assert labels is None or np.array_equal(again.labels, labels)  # type: ignore[arg-type]


def _npz(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()
