from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import quantlib as ql
from quantlib.cli import exporting
from quantlib.data import load_data
from quantlib.export.archive import data_archive
from quantlib.export.offers import FORMATS
from quantlib.export.report import MAX_BYTES, fetches
from tests.cli.running import DIGITS, IRIS, refused, run, save
from tests.paths import GOLDEN, ROOT, SAMPLES

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


@pytest.mark.parametrize("form", ["qdq", "qonnx"])
def test_a_model_is_written_and_proved(form: str, config: Path, tmp_path: Path) -> None:
    path = tmp_path / "made.onnx"
    result = run("export", *DIGITS, "--config", config, "--to", form, "-o", path, "--check")
    assert "holds" in result.stderr
    assert "samples, every integer equal" in result.stderr
    assert f"wrote {path}" in result.stderr
    onnx.checker.check_model(onnx.load(path))


def test_a_folder_gets_the_file_under_the_model_s_name(config: Path, tmp_path: Path) -> None:
    run("export", *DIGITS, "--config", config, "--to", "qdq", "-o", tmp_path)
    assert (tmp_path / "digits_mlp-qdq.onnx").is_file()


def test_several_files_go_to_an_archive_or_a_folder(config: Path, tmp_path: Path) -> None:
    words = ("export", *DIGITS, "--config", config, "--to", "aimet")
    names = {f"digits_mlp-aimet-{version}.encodings" for version in ("1.0.0", "2.0.0")}
    archive = tmp_path / "a.zip"
    said = run(*words, "-o", archive, "--check").stderr
    assert all(name in said for name in names)
    with zipfile.ZipFile(archive) as found:
        assert set(found.namelist()) == names
    run(*words, "-o", tmp_path / "new" / "folder")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == names
    assert "FOLDER" in refused(*words)
    taken = tmp_path / "taken.txt"
    taken.write_text("kept")
    assert "folder" in refused(*words, "-o", taken)
    assert taken.read_text() == "kept"


def test_text_goes_to_standard_output_and_what_it_lacks_to_the_other(config: Path) -> None:
    result = run("export", *DIGITS, "--config", config, "--to", "ort-overrides")
    assert set(json.loads(result.stdout)) >= {"f1.weight", "f2.weight"}
    assert "not carried: /f2/Gemm: '/Relu_output_0' has codes 0…31" in result.stderr
    assert "is no text" in refused("export", *DIGITS, "--config", config, "--to", "qdq")


def test_what_a_proof_refutes_is_not_written(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = FORMATS["qdq"]
    broken = dataclasses.replace(
        form, prove=lambda *a: dataclasses.replace(form.prove(*a), holds=False, different=3)
    )
    monkeypatch.setitem(FORMATS, "qdq", broken)
    path = tmp_path / "made.onnx"
    words = ("export", *IRIS, "--config", config, "--to", "qdq", "-o", path)
    result = run(*words, "--check", code=1)
    assert "nothing is written" in result.stderr
    assert not path.exists()
    run(*words)
    assert path.exists()


def test_what_a_format_cannot_carry_is_refused_with_layer_and_remedy(tmp_path: Path) -> None:
    path = GOLDEN / "brevitas" / "qat_mlp.onnx"
    data, config = tmp_path / "d.npz", save(CONFIG, tmp_path / "a.json")
    x = np.load(path.with_suffix(".npz"))["x"]
    np.savez(data, calibration=x, evaluation=x)
    said = refused("export", path, data, "--config", config, "--to", "aimet", "-o", tmp_path)
    assert "the file brings this grid itself" in said
    assert "export QDQ or QONNX" in said


def test_scripts_have_nothing_to_check(config: Path) -> None:
    assert "--check" in refused("export", *IRIS, "--config", config, "--check")
    assert "onnx2" in refused("export", *IRIS, "--config", config, "--to", "onnx2")


def test_the_report_has_the_screens_figures_and_proofs(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    run("export", *IRIS, "--config", config, "--to", "report", "-o", path, "--check")
    page = path.read_text()
    assert fetches(page) == ()
    assert 'id="figure-widths"' in page
    assert "QDQ ONNX" in page
    assert len(page) < MAX_BYTES


def test_without_the_screens_a_report_has_tables(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "SCREEN_FIGURES", "no_such_package.figures")
    result = run("export", *IRIS, "--config", config, "--to", "report", "-o", tmp_path / "r.html")
    assert "no_such_package" in result.stderr
    page = (tmp_path / "r.html").read_text()
    assert "<figure>" not in page
    assert "<table>" in page


def test_a_concrete_ml_script_says_first_what_would_be_refused(tmp_path: Path) -> None:
    config = save(ql.QuantizationConfig.from_n_bits(4), tmp_path / "a.json")
    wine = (SAMPLES / "wine_sklearn.onnx", SAMPLES / "wine_sklearn.npz")
    result = run("export", *wine, "--config", config, "--to", "concrete-script")
    assert "Concrete ML would refuse" in result.stderr
    assert 'print(f"Concrete ML may refuse {layer}: {reason}")' in result.stdout
    compile(result.stdout, "script", "exec")


def test_every_module_that_offers_a_format_is_offered() -> None:
    assert set(FORMATS) == {
        "qdq", "qonnx", "ort-overrides", "aimet", "c", "numpy", "onnx-integers",
    }  # fmt: skip
    for name, form in FORMATS.items():
        assert form.name == name
        assert all((form.title, form.reader, form.carries, form.loses))
