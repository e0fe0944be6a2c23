"""Servers to open in Chromium, and the system's Chromium to open them with."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

expect.set_options(timeout=15_000)

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        pytest.skip("no Chromium; set CHROMIUM to its path")
    return {**browser_type_launch_args, "executable_path": path, "args": FLAGS.split()}


@contextlib.contextmanager
def serving(log: Path) -> Iterator[str]:
    """Run the app on a free port of this machine; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true",
        "--server.address=127.0.0.1", f"--server.port={port}", "--server.fileWatcherType=none",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT) as server,
    ):
        try:
            _wait_until_healthy(url, server, log)
            yield url
        finally:
            server.terminate()


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=5) as answer,
        ):
            if answer.status == 200:
                return
        time.sleep(0.1)  # polls a process, not a page
    pytest.fail(f"the server does not answer:\n{log.read_text(errors='replace')}")


@pytest.fixture(scope="session")
def app_url(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server, already visited once, for the tests that do not care who came before."""
    with serving(tmp_path_factory.mktemp("server") / "log.txt") as url:
        visitor = browser.new_page()
        visitor.goto(url)
        visitor.get_by_test_id("stMetricValue").first.wait_for(timeout=60_000)
        visitor.close()
        yield url


@pytest.fixture
def fresh_url(tmp_path: Path) -> Iterator[str]:
    """A server that nobody has asked anything yet."""
    with serving(tmp_path / "log.txt") as url:
        yield url
