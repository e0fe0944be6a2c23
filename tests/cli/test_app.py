from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quantlib.cli import screens
from tests.cli.running import refused, run
from tests.paths import ROOT


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Path]]:
    """Collect the processes that would start."""
    seen: list[tuple[list[str], Path]] = []

    def start(arguments: list[str], *, cwd: Path, check: bool) -> Any:
        seen.append((arguments, cwd))
        return subprocess.CompletedProcess(arguments, returncode=3 * check)

    monkeypatch.setattr(subprocess, "run", start)
    return seen


def test_it_starts_the_screens_of_the_checkout_on_the_port(
    started: list[tuple[list[str], Path]],
) -> None:
    run("app", "--port", 8600)
    ((arguments, folder),) = started
    assert folder == ROOT
    assert arguments[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert arguments[4:] == [str(ROOT / "app.py"), "--server.port", "8600"]


def test_without_a_checkout_it_says_where_the_screens_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: list[tuple[list[str], Path]]
) -> None:
    monkeypatch.setattr(screens, "CHECKOUT", tmp_path)
    words = refused("app")
    assert str(tmp_path) in words
    assert "clone" in words
    assert not started


def test_without_streamlit_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, started: list[tuple[list[str], Path]]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", {}.get)
    assert "pip install 'quantization-explorer[app]'" in refused("app")
    assert not started


def test_a_port_that_does_not_exist_is_refused(started: list[tuple[list[str], Path]]) -> None:
    assert "--port" in refused("app", "--port", 70000)
    assert not started


def test_ctrl_c_is_how_the_screens_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    run("app")
