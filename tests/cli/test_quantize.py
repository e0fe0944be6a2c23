from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import quantlib as ql
from quantlib.core.estimator import Estimator
from tests import models
from tests.cli.running import DIGITS, IRIS, document, measured, run, save

Config = ql.QuantizationConfig


def test_the_document_holds_the_figures_that_the_library_measures() -> None:
    written = document("quantize", *DIGITS, "--bits", 3, "--json")
    found = measured(DIGITS, Config.from_n_bits(3))
    assert found.score is not None and found.widest is not None
    assert written["sqnr_db"] == found.sqnr_db
    assert written["score"]["quantized"] == found.score.quantized_value
    assert written["score"]["float"] == found.score.float_value
    assert written["widest_bits"] == found.widest.width_bits
    assert written["weight_bytes"] == found.weight_bytes
    assert [layer["name"] for layer in written["layers"]] == [x.name for x in found.layers]
    for layer, summary in zip(written["layers"], found.layers, strict=True):
        assert layer["accumulator"] == (summary.accumulator and list(summary.accumulator))
        if summary.weight_grid is not None:
            assert layer["weight_grid"]["scale"] == summary.weight_grid.scale


def test_the_headline_says_accuracy_widest_accumulator_and_size() -> None:
    data = np.load(DIGITS[1])
    module = ql.quantize(ql.load_model(DIGITS[0]), data["calibration"], Config.from_n_bits(4))
    scores: Any = module(data["evaluation"])
    accuracy = np.mean(scores.argmax(1) == data["labels"])
    words = run("quantize", *DIGITS, "--bits", 4).stdout
    assert f"accuracy            {100 * accuracy:.1f} % (float" in words
    widths = module.bitwidth_and_range_report(
        np.concatenate([data["calibration"], data["evaluation"]])
    )
    widest = max(entry["bitwidth"] for entry in widths.values())
    assert f"widest accumulator  {widest} of 16 bits in" in words


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param([], Config.from_n_bits(4), id="default"),
        pytest.param(["--bits", 6], Config.from_n_bits(6), id="bits"),
        pytest.param(
            ["--weight-bits", 3, "--activation-bits", 7],
            Config(ql.Scheme(3), ql.Scheme(7), 7, 7),
            id="widths",
        ),
        pytest.param(
            ["--bits", 2, "--input-bits", 8, "--output-bits", 9, "--rounding", 6, "--limit", 12],
            Config(ql.Scheme(2), ql.Scheme(2), 8, 9, 6, 12),
            id="edges",
        ),
        pytest.param(
            ["--weights-signed", "yes", "--weights-symmetric", "no", "--activations-signed", "no"],
            Config(ql.Scheme(4, True, False), ql.Scheme(4, False), 5, 5),
            id="signs",
        ),
        pytest.param(
            ["--weights-narrow", "--weights-per-channel", "--weights-power-of-two"],
            Config(
                ql.Scheme(4, narrow=True, per_channel=True, power_of_two=True), ql.Scheme(4), 5, 5
            ),
            id="grids",
        ),
        pytest.param(
            ["--activations-estimator", "percentile:99.5", "--calibrate-on", "float"],
            Config(
                ql.Scheme(4),
                ql.Scheme(4, estimator=Estimator("percentile", 99.5)),
                5,
                5,
                calibrate_on="float",
            ),
            id="ranges",
        ),
        pytest.param(
            ["--layer-weight-bits", "/f1/Gemm=2", "--layer-activation-bits", "/f1/Gemm=3"],
            Config.from_n_bits(4).with_override(
                "/f1/Gemm", ql.LayerOverride(weights=ql.Scheme(2), activations=ql.Scheme(3))
            ),
            id="one-layer",
        ),
    ],
)
def test_options_make_the_configuration_and_save_it(
    options: list[Any], expected: ql.QuantizationConfig, tmp_path: Path
) -> None:
    path = tmp_path / "saved.json"
    run("quantize", *DIGITS, *options, "--save-config", path)
    assert Config.from_json(path.read_bytes()) == expected


def test_options_change_a_given_configuration_and_leave_the_rest(tmp_path: Path) -> None:
    base = Config(ql.Scheme(3, True, True), ql.Scheme(6, False), 7, 9, 5, 11)
    path = save(base, tmp_path / "a.json")
    words = ("quantize", *IRIS, "--config", path, "--json")
    assert document(*words)["config"] == document(*words, "--limit", 11)["config"]
    changed = document(*words, "--weights-symmetric", "auto", "--rounding", "off")["config"]
    assert changed["weights"]["n_bits"] == 3
    assert changed["weights"]["signed"] is True
    assert changed["weights"]["symmetric"] is None
    assert changed["rounding_threshold_bits"] is None
    assert (changed["input_bits"], changed["output_bits"], changed["limit_bits"]) == (7, 9, 11)


def test_a_configuration_and_bits_contradict(tmp_path: Path) -> None:
    path = save(Config.from_n_bits(4), tmp_path / "a.json")
    assert (
        "give one of them" in run("quantize", *IRIS, "--config", path, "--bits", 3, code=2).stderr
    )


def test_a_damaged_configuration_is_named_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(
        Config.from_n_bits(4).to_json().replace('"limit_bits": 16', '"limit_bits": "x"')
    )
    words = run("quantize", *IRIS, "--config", path, code=2).stderr
    assert "a.json: $.limit_bits is 'x'" in words


@pytest.mark.parametrize("json", [False, True])
def test_check_says_no_exactly_above_the_limit(json: bool) -> None:
    form = ["--json"] if json else []
    found = measured(IRIS, Config.from_n_bits(5))
    assert found.widest is not None and found.widest.width_bits is not None
    width = found.widest.width_bits
    run("quantize", *IRIS, "--bits", 5, "--limit", width, "--check", *form)
    words = run("quantize", *IRIS, "--bits", 5, "--limit", width - 1, "--check", *form, code=1)
    assert f"{width} of {width - 1} bits" in words.stderr
    run("quantize", *IRIS, "--bits", 5, "--limit", width - 1, *form)


def test_generated_data_have_no_accuracy_and_say_so() -> None:
    result = run("quantize", IRIS[0], "--synthetic", "--json")
    assert '"score": null' in result.stdout
    assert "standard normal" in result.stderr


def test_an_exact_output_is_an_infinity_that_json_can_say(tmp_path: Path) -> None:
    model = models.build(
        [helper.make_node("Flatten", ["x"], ["y"], "f")], inputs={"x": ["n", 2]}, outputs=["y"]
    )
    onnx.save(model, tmp_path / "m.onnx")
    np.save(tmp_path / "d.npy", np.array([[0, 1], [31, 3]] * 2, dtype=np.float32))
    words = ("quantize", tmp_path / "m.onnx", tmp_path / "d.npy", "--activation-bits", 5)
    assert document(*words, "--json")["sqnr_db"] == "inf"
    assert "SQNR                exact" in run(*words).stdout


def test_the_table_has_a_line_per_layer_and_marks_what_does_not_fit() -> None:
    config = Config.from_n_bits(6)
    found = measured(DIGITS, config)
    lines = run("quantize", *DIGITS, "--bits", 6, "--limit", 13).stdout.splitlines()
    table = lines[-len(found.layers) :]
    for line, layer in zip(table, found.layers, strict=True):
        assert line.split()[:2] == [layer.name, layer.op_type]
        above = layer.width_bits is not None and layer.width_bits > 13
        assert (f"{layer.width_bits} > 13" in line) == above
    assert any("> 13" in line for line in table)


def test_bits_that_rounding_takes_have_a_column() -> None:
    words = ("quantize", *DIGITS, "--bits", 6)
    assert "rounded" not in run(*words).stdout.splitlines()[-6]
    assert "rounded" in run(*words, "--rounding", 6).stdout.splitlines()[-6]
