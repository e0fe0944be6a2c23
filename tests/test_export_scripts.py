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

ROOT = Path(__file__).parents[1]
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


def test_what_concrete_ml_cannot_express_is_refused() -> None:
    config = CONFIG.replace(weights=ql.Scheme(4, symmetric=True))
    with pytest.raises(ql.OptionsError, match="set all four to auto"):
        concrete_ml_script(config, **FILES)


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
