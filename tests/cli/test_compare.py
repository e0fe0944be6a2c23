from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from tests.cli.running import DIGITS, IRIS, document, refused, run, save

A, B = ql.QuantizationConfig.from_n_bits(2), ql.QuantizationConfig.from_n_bits(3)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return save(A, tmp_path / "a.json"), save(B, tmp_path / "b.json")


def classes(config: ql.QuantizationConfig) -> Any:
    data = np.load(DIGITS[1])
    module: Any = ql.quantize(ql.load_model(DIGITS[0]), data["calibration"], config)
    return module(data["evaluation"]).argmax(1)


def float_classes() -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(DIGITS[0])
    return session.run(None, {"input": np.load(DIGITS[1])["evaluation"]})[0].argmax(1)


def test_the_samples_that_flip_are_those_of_the_models_themselves(files: tuple[Path, Path]) -> None:
    written = document("compare", *DIGITS, *files, "--json")
    in_float, in_a, in_b = float_classes(), classes(A), classes(B)
    labels = np.load(DIGITS[1])["labels"]
    expected = {
        i: (labels[i], in_float[i], in_a[i], in_b[i])
        for i in np.flatnonzero((in_a != in_float) | (in_b != in_float))
    }
    flips = written["flips"]
    assert {f["sample"]: (f["label"], f["float"], f["a"], f["b"]) for f in flips} == expected
    margins = [flip["float_margin"] for flip in flips]
    assert margins == sorted(margins, reverse=True)
    assert written["a"]["agreement"] == np.mean(in_a == in_float)
    assert written["b"]["agreement"] == np.mean(in_b == in_float)


def test_figures_stand_side_by_side_with_float(files: tuple[Path, Path]) -> None:
    lines = run("compare", *DIGITS, *files, "--max-flips", 3).stdout.splitlines()
    labels = np.load(DIGITS[1])["labels"]
    shares = [np.mean(found == labels) for found in (float_classes(), classes(A), classes(B))]
    accuracy = next(line for line in lines if line.startswith("accuracy"))
    assert accuracy.split()[1::2] == [f"{100 * share:.1f}" for share in shares]
    different = np.sum(classes(A) != classes(B))
    changed = next(line for line in lines if "change their class" in line)
    assert changed.endswith(f"A and B differ on {different} of them.")
    assert len(lines) - lines.index(changed) == 6
    assert lines[-1].startswith("… ")


def test_equal_configurations_compare_equal(files: tuple[Path, Path]) -> None:
    written = document("compare", *IRIS, files[1], files[1], "--json")
    assert written["a"] == written["b"]
    assert all(flip["a"] == flip["b"] for flip in written["flips"])


def test_generated_data_take_the_place_of_the_file(files: tuple[Path, Path]) -> None:
    assert document("compare", IRIS[0], *files, "--synthetic", "--json")["data"] == "synthetic"
    assert "give A.json B.json" in refused("compare", *IRIS, *files, "--synthetic")
    assert "give DATA A.json B.json" in refused("compare", IRIS[0], *files)


def test_a_model_without_classes_has_no_flips(files: tuple[Path, Path]) -> None:
    folder = IRIS[0].parent
    sample = (folder / "diabetes_mlp.onnx", folder / "diabetes_mlp.npz")
    words = run("compare", *sample, *files).stdout
    assert "R²" in words
    assert "class" not in words
