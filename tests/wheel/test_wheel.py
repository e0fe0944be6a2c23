"""The wheel alone, in an empty environment; run with ``pytest -m wheel``."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.paths import ROOT

pytestmark = pytest.mark.wheel

_LOOK = """
import pathlib, sys
import quantlib
from streamlit.testing.v1 import AppTest
app = pathlib.Path(quantlib.__file__).parent / "_app"
assert pathlib.Path.cwd() not in pathlib.Path(quantlib.__file__).parents
sys.path.insert(0, str(app))
at = AppTest.from_file(str(app / "app.py"), default_timeout=120).run()
assert not at.exception and not at.error, (at.exception, at.error)
at.switch_page("pages/compare.py").run().run()
assert not at.exception and not at.error, (at.exception, at.error)
assert len(at.metric) >= 4
print("drawn:", [metric.value for metric in at.metric[:4]])
"""


def uv(*words: str) -> None:
    """Run uv; skip where there is no network to install from."""
    found = shutil.which("uv")
    if found is None:
        pytest.skip("there is no uv")
    done = subprocess.run([found, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and any(w in done.stderr for w in ("connect", "dns", "network", "fetch")):
        pytest.skip(f"nothing can be installed here: {done.stderr.strip().splitlines()[-1]}")
    assert not done.returncode, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it with the extra ``app``; return the environment's programs."""
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--wheel", "--quiet", "--out-dir", str(folder))
    (wheel,) = folder.glob("*.whl")
    uv("venv", "--quiet", str(folder / "env"))
    programs = folder / "env" / "bin"
    uv("pip", "install", "--quiet", "--python", str(programs / "python"), f"{wheel}[app]")
    return programs


def test_everything_lies_inside_the_package() -> None:
    folder = ROOT / "build" / "wheel-test"
    uv("build", "--wheel", "--quiet", "--out-dir", str(folder))
    (wheel,) = folder.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    shutil.rmtree(folder)
    top = {name.partition("/")[0] for name in names}
    assert "pages" not in top
    assert {name for name in top if not name.endswith(".dist-info")} == {"quantlib"}
    assert "quantlib/_app/pages/home.py" in names
    assert "quantlib/_app/sample_models/digits_cnn.onnx" in names
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_screens_are_drawn_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed / "python", "-c", _LOOK],
        cwd=tmp_path,
        env=alone(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "drawn:" in done.stdout, done.stderr[-3000:]


def test_the_command_serves_them_until_it_is_ended(installed: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(installed / "quantlib"), "app", "--port", str(port), "--no-browser"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=alone(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        assert answers(f"http://127.0.0.1:{port}/_stcore/health", server), log.read_text()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
            assert b"<title>" in page.read()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5)


def alone() -> dict[str, str]:
    """Return an environment that knows nothing of this checkout."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL", "UV"))}


def answers(address: str, server: subprocess.Popen[bytes]) -> bool:
    """Wait until a server answers."""
    for _ in range(120):
        if server.poll() is not None:
            return False
        try:
            with urllib.request.urlopen(address, timeout=2) as found:
                return bool(found.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    return False
