from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quantlib.cli import screens
from tests.cli.running import refused, run
from tests.paths import ROOT

Started = list[tuple[list[str], Path, dict[str, str]]]
"""Arguments, folder and environment of the processes that would start."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Collect the processes that would start."""
    seen: Started = []

    def start(arguments: list[str], *, cwd: Path, env: dict[str, str], check: bool) -> Any:
        seen.append((arguments, cwd, env))
        return subprocess.CompletedProcess(arguments, returncode=3 * check)

    monkeypatch.setattr(subprocess, "run", start)
    return seen


def test_it_starts_the_screens_of_the_checkout_on_the_port(
    started: Started,
) -> None:
    run("app", "--port", 8600)
    ((arguments, folder, _),) = started
    assert folder == ROOT
    assert arguments[:4] == [sys.executable, "-m", "streamlit", "run"]
    assert arguments[4:7] == [str(ROOT / "app.py"), "--server.port", "8600"]
    assert options(arguments)["--server.address"] == ["127.0.0.1"]
    assert options(arguments)["--server.allowedHosts"] == ["localhost", "127.0.0.1", "::1"]


def options(arguments: list[str]) -> dict[str, list[str]]:
    """Return what is given for each option, in order."""
    found: dict[str, list[str]] = {}
    for name, value in zip(arguments[5::2], arguments[6::2], strict=True):
        found.setdefault(name, []).append(value)
    return found


def test_a_class_gets_address_names_limits_and_samples_only(
    monkeypatch: pytest.MonkeyPatch, started: Started
) -> None:
    monkeypatch.setenv("QUANTLIB_MAX_UPLOAD_DATA_MB", "30")
    run("app", "--address", "0.0.0.0", "--host", "class.example.org", "--host", "*.lab",
        "--max-model-mb", 20, "--samples-only", "--no-browser")  # fmt: skip
    ((arguments, _, environment),) = started
    given = options(arguments)
    assert given["--server.address"] == ["0.0.0.0"]
    assert given["--server.allowedHosts"][3:] == ["class.example.org", "*.lab"]
    assert given["--server.maxUploadSize"] == ["30"]
    assert given["--server.headless"] == ["true"]
    assert environment["QUANTLIB_MAX_UPLOAD_MODEL_MB"] == "20"
    assert environment["QUANTLIB_MAX_UPLOAD_DATA_MB"] == "30"
    assert environment["QUANTLIB_SAMPLES_ONLY"] == "1"


def test_the_whole_network_is_answered_only_under_names_that_are_given(started: Started) -> None:
    assert "--host" in refused("app", "--address", "0.0.0.0")
    assert not started


def test_an_installed_library_shows_the_screens_inside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: Started
) -> None:
    inside = tmp_path / "quantlib" / "_app"
    (inside / "pages").mkdir(parents=True)
    (inside / "app.py").touch()
    monkeypatch.setattr(screens, "CHECKOUT", tmp_path)
    monkeypatch.setattr(screens, "INSTALLED", inside)
    run("app")
    ((arguments, folder, _),) = started
    assert folder == inside
    assert arguments[4] == str(inside / "app.py")


def test_without_a_checkout_it_says_where_the_screens_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: Started
) -> None:
    monkeypatch.setattr(screens, "CHECKOUT", tmp_path)
    monkeypatch.setattr(screens, "INSTALLED", tmp_path / "_app")
    words = refused("app")
    assert str(tmp_path) in words
    assert "clone" in words
    assert not started


def test_without_streamlit_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, started: Started
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", {}.get)
    assert "pip install 'quantization-explorer[app]'" in refused("app")
    assert not started


def test_a_port_that_does_not_exist_is_refused(started: Started) -> None:
    assert "--port" in refused("app", "--port", 70000)
    assert not started


def test_ctrl_c_is_how_the_screens_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    run("app")
