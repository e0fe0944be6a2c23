from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import quantlib as ql
from tests.cli.running import DIGITS, IRIS, refused, run
from tests.paths import ROOT, SAMPLES

COMMANDS = ("inspect", "quantize", "sweep", "search", "compare", "export", "app")


def process(
    *words: object, folder: Path, python: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; `python` replaces ``-m quantlib.cli``."""
    start = ["-m", "quantlib.cli"] if python is None else ["-c", textwrap.dedent(python)]
    return subprocess.run(
        [sys.executable, *start, *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_it_says_its_version() -> None:
    assert run("--version").stdout == f"quantlib {ql.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_of_the_command_and_the_exit_codes(command: str) -> None:
    words = run(command, "--help").stdout
    assert f"  quantlib {command}" in words
    assert "Exit codes:" in words
    assert run(command, "-h").stdout == words


def test_help_lists_every_command() -> None:
    words = run("--help").stdout
    assert all(f"\n  {command} " in words for command in COMMANDS)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "app"])
def test_a_command_without_arguments_shows_its_help(command: str) -> None:
    result = run(command, code=2)
    assert f"quantlib {command}" in result.stdout + result.stderr
    assert "Examples:" in result.stdout + result.stderr


def test_nothing_at_all_shows_the_help() -> None:
    result = run(code=2)
    assert "Commands:" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        pytest.param(["inspect", "no.onnx"], "no.onnx: there is no such file", id="model"),
        pytest.param(["inspect", SAMPLES], "there is no such file", id="folder"),
        pytest.param(["inspect", IRIS[1]], "zip archive", id="data-as-model"),
        pytest.param(["quantize", *IRIS[:1], "no.npz"], "no.npz: there is no", id="data"),
        pytest.param(["quantize", *IRIS[:1]], "DATA is missing", id="no-data"),
        pytest.param(["quantize", *IRIS, "--synthetic"], "give one of them", id="both"),
        pytest.param(["quantize", IRIS[0], DIGITS[1]], "digits_mlp.npz", id="other-data"),
        pytest.param(["quantize", *IRIS, "--bits", "0"], "from 1 to 32", id="bits"),
        pytest.param(["quantize", *IRIS, "--bits", "x"], "--bits", id="no-number"),
        pytest.param(["quantize", *IRIS, "--rounding", "x"], "--rounding is 'x'", id="rounding"),
        pytest.param(
            ["quantize", *IRIS, "--output-bits", "3"], "raise the output bits", id="outputs"
        ),
        pytest.param(
            ["quantize", *IRIS, "--weights-signed", "no", "--weights-symmetric", "yes"],
            "symmetric needs signed codes",
            id="contradiction",
        ),
        pytest.param(["quantize", *IRIS, "--config", "no.json"], "no.json: there is", id="config"),
        pytest.param(
            ["quantize", *IRIS, "--save-config", "no/where/a.json"], "a.json", id="unwritable"
        ),
        pytest.param(
            ["quantize", *IRIS, "--layer-weight-bits", "nowhere=3"], "'nowhere'", id="layer"
        ),
        pytest.param(["dequantize"], "dequantize", id="command"),
    ],
)
def test_what_it_cannot_do_is_said_in_words_with_code_2(words: list[str], complaint: str) -> None:
    assert complaint in refused(*words)


def test_names_from_outside_reach_no_terminal_as_commands(tmp_path: Path) -> None:
    assert "\x1b" not in refused("inspect", tmp_path / "a\x1b[31mred.onnx")


def test_a_process_quantizes_and_says_no_with_code_1(tmp_path: Path) -> None:
    words = ("quantize", *IRIS, "--bits", 8, "--limit", 4, "--check")
    done = process(*words, folder=tmp_path)
    assert done.returncode == 1
    assert "does not fit" in done.stderr
    assert "widest accumulator" in done.stdout


def test_a_process_refuses_with_code_2_and_without_a_traceback(tmp_path: Path) -> None:
    done = process("inspect", "no.onnx", folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "quantlib: no.onnx: there is no such file; check the path.\n"


WITHOUT = """
    import sys

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {"rich", "typer"}:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Hidden())
"""


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    python = WITHOUT + "\n    from quantlib.cli import main\n    main()\n"
    done = process("--version", folder=tmp_path, python=python)
    assert done.returncode == 2
    assert "pip install 'quantization-explorer[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_the_library_works(tmp_path: Path) -> None:
    python = WITHOUT + "\n    import quantlib\n    print(quantlib.load_model(sys.argv[1]).name)\n"
    done = process(IRIS[0], folder=tmp_path, python=python)
    assert (done.returncode, done.stdout) == (0, "iris_linear\n")
