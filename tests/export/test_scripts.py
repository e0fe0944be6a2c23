from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.export.scripts import concrete_ml_script, quantlib_script
from tests.paths import ROOT

FILES: Any = {"model": "digits_mlp.onnx", "data": "digits_mlp.npz", "inputs": ["input"]}
CONFIG = ql.QuantizationConfig.from_n_bits({"op_weights": 3, "op_inputs": 5})


def test_the_quantlib_script_prints_the_widths_that_the_library_reports(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(quantlib_script(CONFIG, **FILES))
    printed = subprocess.run(
        [sys.executable, str(script)],
        cwd=ROOT / "sample_models",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    data = np.load(ROOT / "sample_models" / FILES["data"])
    graph = ql.load_model(ROOT / "sample_models" / FILES["model"])
    report = ql.quantize(graph, data["calibration"], CONFIG).bitwidth_and_range_report()
    for name, entry in report.items():
        assert f"{name}: {entry['bitwidth']} bits, range {entry['range']}" in printed


def test_the_concrete_ml_script_carries_the_widths() -> None:
    script = concrete_ml_script(CONFIG.replace(rounding_threshold_bits=7), **FILES)
    assigned = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(script).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id.isupper()
    }
    assert assigned["N_BITS"] == CONFIG.n_bits
    assert assigned["ROUNDING_THRESHOLD_BITS"] == 7


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"weights": ql.Scheme(4, symmetric=True)}, "symmetry of weights"),
        ({"activations": ql.Scheme(4, signed=True)}, "signs of activations"),
        ({"weights": ql.Scheme(4, per_channel=True, narrow=True)}, "grids per channel of weights"),
        ({"activations": ql.Scheme(4, power_of_two=True)}, "power-of-two scales of activations"),
        ({"weights": ql.Scheme(4, estimator=ql.Estimator("mse"))}, "mse range of weights"),
        ({"calibrate_on": "float"}, "ranges of the float model"),
        ({"overrides": {"a": ql.LayerOverride(weights=ql.Scheme(3))}}, "exceptions by layer"),
    ],
)
def test_what_concrete_ml_cannot_express_is_refused_by_name(
    changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ql.OptionsError, match=named):
        concrete_ml_script(CONFIG.replace(**changes), **FILES)


def test_a_model_with_its_own_grids_goes_through_concrete_ml_s_other_importer() -> None:
    script = concrete_ml_script(CONFIG, **FILES, carries_grids=True)
    ast.parse(script)
    assert "PostTrainingQATImporter(" in script
    assert "PostTrainingAffineQuantization" not in script


def test_a_layer_name_of_any_letters_survives_the_script() -> None:
    name = 'a"b\\n\'"""{}\n\u00e9\U0001f600'
    config = CONFIG.with_override(name, ql.LayerOverride(weights=ql.Scheme(2)))
    tree = ast.parse(quantlib_script(config, **FILES))
    (text,) = (
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    )
    assert isinstance(text, str)
    assert ql.QuantizationConfig.from_json(text) == config
