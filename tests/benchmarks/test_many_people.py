"""Ten and thirty people at one server: each loads, moves widths, sweeps, compares; all is checked.

Run with ``pytest -m benchmark_suite tests/benchmarks/test_many_people.py -s``. Each person is a
connection that says what a browser says, with pauses between moves.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

import quantlib as ql
from quantlib import wording
from quantlib.questions import bitwidths
from tests.paths import ROOT
from tests.sample_data import sample

pytestmark = pytest.mark.benchmark_suite

MODELS = ("digits_cnn", "digits_mlp", "iris_linear", "wine_sklearn")
MOVES = (5, 3, 6, 2, 7, 4)
EVERY_S = 5.0
"""How long a person looks before the next move, s."""

BASE = ql.QuantizationConfig.from_n_bits(4)


class Tab:
    """What a browser's tab knows: widgets, pages and figures of the last run."""

    def __init__(self, url: str, model: str) -> None:
        self._open = ExitStack()
        self._link: ClientConnection = self._open.enter_context(
            connect(url, max_size=None, open_timeout=60)
        )
        self._query = f"config.model={model}"
        self._values: dict[str, float] = {}
        self._sliders: dict[str, str] = {}
        self._buttons: dict[str, str] = {}
        self._pages: dict[str, str] = {}
        self._page = ""
        self.metrics: list[str] = []
        self.texts: list[str] = []

    def run(self, *, slider: tuple[str, int] | None = None, press: str = "") -> float:
        """Let the script run; return how long it took, s."""
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash = self._query, self._page
        if slider is not None:
            self._values[self._sliders[slider[0]]] = float(slider[1])
        for name, value in self._values.items():
            widget = state.widget_states.widgets.add()
            widget.id = name
            widget.double_array_value.data.append(value)
        if press:
            widget = state.widget_states.widgets.add()
            widget.id, widget.trigger_value = self._buttons[press], True
        started = time.monotonic()
        self._link.send(message.SerializeToString())
        self.metrics, self.texts = [], []
        while True:
            found = ForwardMsg.FromString(self._link.recv(timeout=300))
            kind = found.WhichOneof("type")
            if kind == "navigation":
                self._pages = {
                    p.url_pathname: p.page_script_hash for p in found.navigation.app_pages
                }
            elif kind == "page_info_changed":
                self._query = found.page_info_changed.query_string or self._query
            elif kind == "delta" and found.delta.WhichOneof("type") == "new_element":
                self._take(found.delta.new_element)
            elif kind == "script_finished":
                if found.script_finished in (
                    ForwardMsg.FINISHED_SUCCESSFULLY,
                    ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY,
                ):
                    return time.monotonic() - started
                assert found.script_finished != ForwardMsg.FINISHED_WITH_COMPILE_ERROR

    def _take(self, element: object) -> None:
        kind = element.WhichOneof("type")  # type: ignore[attr-defined]
        part = getattr(element, kind)
        if kind == "metric":
            self.metrics.append(part.body)
        elif kind == "slider":
            self._sliders[part.label] = part.id
        elif kind == "button":
            self._buttons[part.label] = part.id
        elif kind in ("markdown", "alert", "exception"):
            words = part.message if kind == "exception" else part.body
            assert kind != "exception", words
            self.texts.append(words)

    def go_to(self, page: str) -> None:
        """Open another screen."""
        self._page = self._pages[page]
        self.run()

    def close(self) -> None:
        """Close the tab."""
        self._open.close()


class Person(threading.Thread):
    """Opens, moves, sweeps, compares; every figure that is shown is checked."""

    def __init__(self, url: str, number: int) -> None:
        super().__init__(daemon=True)
        self.url, self.number = url, number
        self.model = MODELS[number % len(MODELS)]
        self.moves_s: list[float] = []
        self.load_s = 0.0
        self.shown: list[tuple[int, list[str]]] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """Do what a person does in half a minute."""
        try:
            time.sleep(EVERY_S * (self.number % 10) / 10)
            tab = Tab(self.url, self.model)
            self.load_s = tab.run()
            for i, bits in enumerate(MOVES):
                time.sleep(EVERY_S)
                self.moves_s.append(tab.run(slider=("Weight bits", bits)))
                self.shown.append((bits, tab.metrics))
                if i == 1:
                    tab.go_to("sweep")
                    tab.run(press="Start")
                    tab.go_to("home")
            tab.go_to("compare")
            self.shown.append((MOVES[-1], tab.metrics))
            tab.close()
        except BaseException as error:
            self.error = error


def check(person: Person) -> None:
    """Compare what a person was shown with the library."""
    bench = sample(person.model).bench
    for bits, metrics in person.shown:
        config = BASE.replace(weights=BASE.weights.replace(n_bits=bits))
        found = ql.evaluate(bench, config)
        widest = bitwidths.budget(bench, config).widest
        assert wording.decibel(found.sqnr_db) in metrics, (person.model, bits, metrics)
        assert wording.size(found.weight_bytes) in metrics
        assert widest is not None


@contextmanager
def serving(log: Path) -> Iterator[tuple[str, int]]:
    """Run the app; yield where its connections go, and its process number."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true",
        "--server.address=127.0.0.1", f"--server.port={port}", "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
    ]  # fmt: skip
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output) as server,
    ):
        try:
            for _ in range(300):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health"):
                        break
                except OSError:
                    time.sleep(0.2)
            yield f"ws://127.0.0.1:{port}/_stcore/stream", server.pid
        finally:
            server.send_signal(signal.SIGTERM)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # threads and processes end meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def _private_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def memory(server: int) -> tuple[float, int, float]:
    """Return MiB of the server, the number of workers and the MiB that are theirs alone."""
    workers = [pid for nursery in _children(server) for pid in _children(nursery)]
    return _private_mib(server), len(workers), sum(map(_private_mib, workers))


@pytest.mark.parametrize("count", [10, 30])
def test_many_people_at_once_each_see_what_the_library_computes(count: int, tmp_path: Path) -> None:
    with serving(tmp_path / "log.txt") as (url, server):
        visitor = Tab(url, "digits_cnn")
        visitor.run()
        visitor.close()
        before, _, _ = memory(server)
        people = [Person(url, i) for i in range(count)]
        for person in people:
            person.start()
        most, most_mib, server_mib = 0, 0.0, before
        while any(person.is_alive() for person in people):
            time.sleep(1.0)
            mib, workers, workers_mib = memory(server)
            most, most_mib = max(most, workers), max(most_mib, workers_mib)
            server_mib = max(server_mib, mib)
        for person in people:
            assert person.error is None, repr(person.error)
        load = os.getloadavg()[0]
        for person in people:
            check(person)
        until = time.monotonic() + 240
        while memory(server)[1] and time.monotonic() < until:
            time.sleep(1.0)
        after, left, _ = memory(server)
    moves = sorted(t for person in people for t in person.moves_s)
    loads = [person.load_s for person in people]
    print(
        f"\n{count} people: a slider takes {statistics.median(moves):.2f} s (median), "
        f"{moves[int(0.95 * len(moves))]:.2f} s (95th percentile); the first page "
        f"{statistics.median(loads):.2f} s; at most {most} workers with "
        f"{most_mib / count:.0f} MiB per person; server {before:.0f} to {server_mib:.0f} MiB, "
        f"{after:.0f} afterwards with {left} workers; load of the machine {load:.1f}"
    )
    assert left == 0
