"""Files that end, halt or swell the program that runs them, dropped on Home; and what remains."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import onnx
import pytest
from streamlit.testing.v1 import AppTest

import quantlib as ql
from pages.ui import uploads
from quantlib.workers import Limits
from quantlib.workers.client import Client
from quantlib.workers.crumbs import CRUMB_FILE
from quantlib.workers.desk import Desk
from tests.bad_models import endless_loop, swelling
from tests.pages.conftest import BuildModel, GoTo, OpenScreen
from tests.paths import ROOT
from tests.sample_data import sample

CONFIG = ql.QuantizationConfig.from_n_bits(4)


@pytest.fixture(autouse=True)
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Give workers little, so that what goes on for ever ends soon."""
    found = Desk(limits=Limits(seconds=2.0, memory_mb=600, disk_mb=64))
    monkeypatch.setattr(Desk, "_here", found)
    yield found
    found.close()


def metrics(at: AppTest) -> list[str]:
    return [metric.value for metric in at.metric]


def dropped(at: AppTest, content: bytes, name: str) -> AppTest:
    """Drop a model and wait until it is adopted or refused."""
    at.file_uploader(key="home.model").upload(name, content).run()
    until = time.monotonic() + 30
    while "uploads.trial" in at.session_state and time.monotonic() < until:
        time.sleep(0.1)
        at.run()
    assert not at.exception
    return at


def controls(at: AppTest) -> dict[str, Any]:
    return {
        key: at.session_state[key]
        for key in ("config.model", "config.weight_bits", "config.activation_bits")
    }


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(endless_loop, ("more than 2 seconds", "node 5 'forever' (Loop)"), id="hang"),
        pytest.param(swelling, ("600 MiB of memory", "node 7 'wide' (Expand)"), id="memory"),
    ],
)
def test_a_bad_file_is_one_sentence_and_changes_nothing(
    open_screen: OpenScreen,
    build_model: BuildModel,
    make: Callable[[], onnx.ModelProto],
    words: tuple[str, ...],
) -> None:
    at = open_screen("app.py", model="digits_cnn", weight_bits="5")
    before = metrics(at), controls(at)
    at = dropped(at, make().SerializeToString(), "bad.onnx")
    [error] = at.error
    said = error.value.replace("\\", "")
    assert said.startswith("bad.onnx: ")
    assert all(part in said for part in words), said
    started = time.monotonic()
    at.run()
    assert (metrics(at), controls(at)) == before
    assert time.monotonic() - started < 2.0
    good = build_model()
    at = dropped(at, good, "own.onnx")
    assert "own.onnx is loaded" in at.success[0].value.replace("\\", "")
    graph = ql.load_model(good, name="own.onnx")
    config = CONFIG.replace(weights=CONFIG.weights.replace(n_bits=5))
    expected = ql.evaluate(ql.Workbench(graph, ql.synthetic_data(graph)), config)
    assert f"{expected.sqnr_db:.1f}" in " ".join(metrics(at))


def test_a_worker_that_dies_between_two_clicks_is_made_again_unseen(
    open_screen: OpenScreen,
) -> None:
    at = open_screen("app.py", model="digits_cnn")
    session = at.session_state["engine.session"]
    [pid] = session.pids
    os.kill(pid, signal.SIGKILL)
    at.slider(key="config.weight_bits").set_value(6).run()
    assert not at.exception
    assert not at.error
    expected = ql.evaluate(
        sample("digits_cnn").bench, CONFIG.replace(weights=CONFIG.weights.replace(n_bits=6))
    )
    assert f"{expected.sqnr_db:.1f}" in " ".join(metrics(at))


def test_a_worker_that_dies_at_work_is_a_sentence_and_the_next_click_works(
    open_screen: OpenScreen, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = open_screen("app.py", model="digits_cnn")
    post = Client._post

    def hit(client: Client, message: dict[str, Any]) -> None:
        """Send a question and end the worker as a fault in a library at some node does."""
        if message.get("question") != "evaluations.evaluation":
            post(client, message)
            return
        os.kill(client.pid, signal.SIGSTOP)
        post(client, message)
        with (client.folder / CRUMB_FILE).open("r+b") as file:
            file.write(b"node 'c1' (Conv)")
        os.kill(client.pid, signal.SIGSEGV)
        os.kill(client.pid, signal.SIGCONT)

    monkeypatch.setattr(Client, "_post", hit)
    at.slider(key="config.weight_bits").set_value(6).run()
    assert not at.exception
    said = " ".join(error.value for error in at.error)
    assert "digits" in said
    assert "(signal 11) at node 'c1' (Conv)" in said.replace("\\", "")
    monkeypatch.setattr(Client, "_post", post)
    at.run()
    assert not at.error
    assert not at.exception
    assert metrics(at)


def test_two_people_do_not_notice_each_other(open_screen: OpenScreen) -> None:
    first, second = (open_screen("app.py", model="iris_linear") for _ in range(2))
    before = metrics(second)
    pids = second.session_state["engine.session"].pids
    dropped(first, endless_loop().SerializeToString(), "bad.onnx")
    second.run()
    assert metrics(second) == before
    assert second.session_state["engine.session"].pids == pids
    assert not second.error


def test_loading_can_be_cancelled_and_leaves_no_trace(
    open_screen: OpenScreen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "AT_ONCE_S", 0.0)
    at = open_screen("app.py", model="iris_linear")
    before = metrics(at)
    content = endless_loop().SerializeToString()
    at.file_uploader(key="home.model").upload("slow.onnx", content).run()
    started = time.monotonic()
    at.button(key="uploads.cancel").click().run()
    while "uploads.trial" in at.session_state and time.monotonic() - started < 10:
        at.run()
    assert time.monotonic() - started < 3.0
    assert "cancelled" in at.error[0].value
    assert metrics(at) == before


def test_a_file_is_adopted_on_whatever_screen_the_person_is_by_then(
    open_screen: OpenScreen, go_to: GoTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "AT_ONCE_S", 0.0)
    at = open_screen("app.py", model="iris_linear")
    content = (ROOT / "sample_models" / "digits_mlp.onnx").read_bytes()
    at.file_uploader(key="home.model").upload("mine.onnx", content).run()
    at = go_to(at, "calibration")
    until = time.monotonic() + 20
    while "uploads.trial" in at.session_state and time.monotonic() < until:
        at.run()
    assert not at.exception
    assert at.session_state["config.model"].startswith("mine.onnx #")
