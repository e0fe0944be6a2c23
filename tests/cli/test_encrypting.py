from __future__ import annotations

from pathlib import Path

import quantlib as ql
from quantlib.fhe.lowering import plan_of
from quantlib.fhe.widths import predict
from tests.cli.running import document, refused
from tests.paths import SAMPLES
from tests.sample_data import sample


def arguments(name: str, config: ql.QuantizationConfig, folder: Path) -> list[str]:
    path = folder / "a.json"
    path.write_text(config.to_json())
    return [
        "fhe",
        str(SAMPLES / f"{name}.onnx"),
        str(SAMPLES / f"{name}.npz"),
        "--config",
        str(path),
    ]


def test_predicted_figures_are_those_of_the_library(tmp_path: Path) -> None:
    config = ql.QuantizationConfig.from_n_bits(3, rounding_threshold_bits=6)
    expected = predict(plan_of(sample("diabetes_mlp").bench.module(config).program()))
    found = document(*arguments("diabetes_mlp", config, tmp_path), "--json")["predicted"]
    assert found["n_bootstraps"] == expected.n_bootstraps
    assert found["complexity"] == expected.complexity
    assert [layer["held_bits"] for layer in found["layers"]] == [
        layer.held_bits for layer in expected.layers
    ]


def test_what_stays_in_float_is_refused_by_name(tmp_path: Path) -> None:
    words = arguments("wine_sklearn", ql.QuantizationConfig.from_n_bits(4), tmp_path)
    assert "Softmax stays in float" in refused(*words)


def test_a_probability_is_a_probability(tmp_path: Path) -> None:
    config = ql.QuantizationConfig.from_n_bits(3)
    words = refused(*arguments("iris_linear", config, tmp_path), "--p-error", "1.5")
    assert "--p-error" in words
