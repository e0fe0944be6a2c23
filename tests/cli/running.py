"""The command in this process, and files for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.reports import Evaluation
from quantlib.analysis.workbench import Workbench
from quantlib.cli.program import program
from quantlib.data import load_data
from tests.paths import SAMPLES

IRIS = (SAMPLES / "iris_linear.onnx", SAMPLES / "iris_linear.npz")
DIGITS = (SAMPLES / "digits_mlp.onnx", SAMPLES / "digits_mlp.npz")


def run(*words: object, code: int = 0) -> Result:
    """Run the command and demand an exit code; nothing but an exit may escape."""
    result = CliRunner().invoke(program, [str(word) for word in words], prog_name="quantlib")
    assert result.exit_code == code, (result.exception, result.stdout, result.stderr)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def refused(*words: object) -> str:
    """Run the command, demand that it refuses in words, and return them."""
    result = run(*words, code=2)
    assert "Traceback" not in result.stderr
    assert result.stderr.strip()
    return result.stderr


def document(*words: object) -> Any:
    """Run the command and parse what it writes."""
    return json.loads(run(*words).stdout, parse_constant=_no_constant)


def measured(files: tuple[Path, Path], config: ql.QuantizationConfig) -> Evaluation:
    """Evaluate a configuration without the command."""
    graph = ql.load_model(files[0])
    data = load_data(files[1].read_bytes(), graph, name=files[1].name)
    return evaluate(Workbench(graph, data), config)


def save(config: ql.QuantizationConfig, path: Path) -> Path:
    """Write a configuration."""
    path.write_text(config.to_json())
    return path


def _no_constant(word: str) -> Any:
    raise AssertionError(f"{word} is no JSON")
