"""Workers that die, hang, swell or are killed, and what is left afterwards."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import quantlib as ql
from quantlib.errors import ModelLoadError, WorkerError
from quantlib.questions import bitwidths, evaluations, sweep
from quantlib.workers import Content, Limits, Session, Source, wire
from quantlib.workers.client import Asked, Client, StoppedError
from quantlib.workers.crumbs import TRACE
from quantlib.workers.desk import Crew, Desk
from quantlib.workers.nursery import Nursery
from quantlib.workers.parents import Born, PlainParent, WarmParent, environment
from quantlib.workers.slots import Slots
from tests.bad_models import blank_sum, endless_loop, swelling
from tests.models import mlp
from tests.paths import ROOT, SAMPLES
from tests.sameness import same
from tests.sample_data import sample

CONFIG = ql.QuantizationConfig.from_n_bits(4)

RECOVERY_S = 2.0


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    found = Desk(limits=Limits(seconds=1.5, memory_mb=400, disk_mb=64, at_once=2))
    yield found
    found.close()


@pytest.fixture
def session(desk: Desk) -> Iterator[Session]:
    found = Session(desk)
    yield found
    found.end()


def kept(session: Session, content: bytes, name: str) -> str:
    session.keep(name, Content(name, content))
    return name


def iris(session: Session) -> Source:
    return Source(
        kept(session, (SAMPLES / "iris_linear.onnx").read_bytes(), "iris_linear"),
        kept(session, (SAMPLES / "iris_linear.npz").read_bytes(), "iris_linear.npz"),
    )


def evaluated(session: Session, source: Source) -> Any:
    return session.ask(source, "evaluations.evaluation", (CONFIG,)).value.evaluation


def eventually(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.02)
    return bool(true())


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_worker_answers_what_the_library_computes(session: Session) -> None:
    source = iris(session)
    bench = sample("iris_linear").bench
    found = evaluated(session, source)
    assert found.sqnr_db == ql.evaluate(bench, CONFIG).sqnr_db
    budget = session.ask(source, "bitwidths.budget", (CONFIG,)).value
    assert same(budget, bitwidths.budget(bench, CONFIG))
    card = session.ask(source, "evaluations.model_card").value
    assert same(card, evaluations.model_card(bench))


BAD = [
    pytest.param(endless_loop, ("more than", "node 5 'forever' (Loop)"), id="hang"),
    pytest.param(swelling, ("MiB of memory", "(Expand)"), id="memory"),
]


@pytest.mark.parametrize(("make", "words"), BAD)
def test_a_bad_model_is_one_sentence_and_what_was_there_is_back_at_once(
    session: Session, make: Callable[[], onnx.ModelProto], words: tuple[str, ...]
) -> None:
    good = iris(session)
    before = evaluated(session, good)
    front = session.pids
    bad = Source(kept(session, make().SerializeToString(), "bad.onnx"), "")
    with pytest.raises(WorkerError) as caught:
        session.try_out(bad, "evaluations.check")
    said = str(caught.value)
    assert said.startswith("bad.onnx: ")
    for part in words:
        assert part in said, said
    session.forget(bad.model)
    assert session.pids == front
    started = time.monotonic()
    assert evaluated(session, good).sqnr_db == before.sqnr_db
    assert time.monotonic() - started < RECOVERY_S


@pytest.mark.parametrize("make", [endless_loop, swelling])
def test_a_session_whose_worker_was_lost_gets_another_with_the_same_numbers(
    session: Session, make: Callable[[], onnx.ModelProto]
) -> None:
    good = iris(session)
    before = evaluated(session, good)
    bad = Source(kept(session, make().SerializeToString(), "bad.onnx"), "")
    with pytest.raises(WorkerError, match=r"bad\.onnx: "):
        session.ask(bad, "evaluations.check")
    started = time.monotonic()
    after = evaluated(session, good)
    assert time.monotonic() - started < RECOVERY_S
    assert (after.sqnr_db, after.mse) == (before.sqnr_db, before.mse)


def crash(session: Session, source: Source) -> str:
    """Let a worker end by signal 11 while it runs a model, as a fault in a library does."""

    def harm(_: int) -> None:
        for client in session._crew.all():
            os.kill(client.pid, signal.SIGSEGV)

    with pytest.raises(WorkerError) as caught:
        session.ask(source, "evaluations.check", tick=harm)
    return str(caught.value)


def test_a_death_names_file_signal_and_node_and_the_next_question_is_answered(
    session: Session,
) -> None:
    good = iris(session)
    before = evaluated(session, good)
    bad = Source(kept(session, endless_loop().SerializeToString(), "bad.onnx"), "")
    said = crash(session, bad)
    assert said.startswith("bad.onnx: ")
    assert "(signal 11)" in said
    assert "node 5 'forever' (Loop)" in said
    started = time.monotonic()
    assert evaluated(session, good).sqnr_db == before.sqnr_db
    assert time.monotonic() - started < RECOVERY_S


def test_the_node_at_which_onnx_runtime_dies_is_found(session: Session) -> None:
    client = session.desk.client()
    client.give("bad", "bad.onnx", blank_sum().SerializeToString())
    with pytest.raises(StoppedError) as caught:
        list(client.answers(Asked(("bad", "", "", False), TRACE)))
    assert (caught.value.why, caught.value.signal_number) == ("died", 11)
    assert caught.value.crumb == "node 2 'sum' (Sum)"


def test_other_sessions_do_not_notice(desk: Desk, session: Session) -> None:
    other = Session(desk)
    source = iris(other)
    before = evaluated(other, source)
    pids = other.pids
    bad = Source(kept(session, endless_loop().SerializeToString(), "bad.onnx"), "")
    crash(session, bad)
    assert other.pids == pids
    assert evaluated(other, source).sqnr_db == before.sqnr_db
    other.end()


def test_a_worker_that_is_killed_while_it_idles_is_made_again_unseen(session: Session) -> None:
    source = iris(session)
    before = evaluated(session, source)
    for _ in range(3):
        [pid] = session.pids
        os.kill(pid, signal.SIGKILL)
        assert evaluated(session, source).sqnr_db == before.sqnr_db


def test_a_worker_killed_at_work_is_a_sentence(session: Session) -> None:
    source = Source(kept(session, endless_loop().SerializeToString(), "slow.onnx"), "")

    def kill(_: int) -> None:
        for pid in session.pids:
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(WorkerError, match=r"slow\.onnx: .* ended from outside"):
        session.ask(source, "evaluations.check", tick=kill)


def test_errors_of_the_library_arrive_as_they_are(session: Session) -> None:
    source = Source(kept(session, b"no model", "none.onnx"), "")
    with pytest.raises(ModelLoadError) as expected:
        ql.load_model(b"no model", name="none.onnx")
    with pytest.raises(ModelLoadError) as found:
        session.ask(source, "evaluations.check")
    assert str(found.value) == str(expected.value)


def test_a_question_can_be_left_within_a_second_and_the_worker_goes_on(session: Session) -> None:
    source = iris(session)
    evaluated(session, source)

    class Left(BaseException):
        pass

    def leave(_: int) -> None:
        raise Left

    started = time.monotonic()
    hanging = Source(kept(session, endless_loop().SerializeToString(), "slow.onnx"), "")
    with pytest.raises(Left):
        session.ask(hanging, "evaluations.check", tick=leave)
    assert time.monotonic() - started < 1.0
    assert evaluated(session, source).sqnr_db


def test_work_in_the_background_can_be_cancelled_within_a_second(session: Session) -> None:
    source = Source(
        kept(session, (SAMPLES / "digits_cnn.onnx").read_bytes(), "digits_cnn"),
        kept(session, (SAMPLES / "digits_cnn.npz").read_bytes(), "digits_cnn.npz"),
    )
    configs = tuple(ql.QuantizationConfig.from_n_bits(n) for n in range(2, 9)) * 1
    cancelled = threading.Event()
    found = []
    for result in session.background(
        source, "sweep.sweep", (configs,), go_on=lambda: not cancelled.is_set()
    ):
        found.append(result)
        if not cancelled.is_set():
            cancelled.set()
            at = time.monotonic()
    assert time.monotonic() - at < 1.0
    assert 1 <= len(found) < len(configs)


def test_a_stream_yields_what_the_library_yields(session: Session) -> None:
    configs = tuple(ql.QuantizationConfig.from_n_bits(n) for n in (3, 4, 5))
    expected = {r.config: r["sqnr_db"] for r in sweep.sweep(sample("iris_linear").bench, configs)}
    found = session.background(iris(session), "sweep.sweep", (configs,))
    assert {result.config: result["sqnr_db"] for result in found} == expected


def test_work_in_the_background_leaves_the_first_worker_free() -> None:
    session = Session(Desk(limits=Limits(at_once=1)))
    source = Source(
        kept(session, (SAMPLES / "digits_cnn.onnx").read_bytes(), "digits_cnn"),
        kept(session, (SAMPLES / "digits_cnn.npz").read_bytes(), "digits_cnn.npz"),
    )
    session.ask(source, "evaluations.check")
    configs = tuple(ql.QuantizationConfig.from_n_bits(n) for n in range(2, 16))
    seen: list[float] = []

    def work() -> None:
        found = session.background(source, "sweep.sweep", (configs,))
        seen.extend(time.monotonic() for _ in found)

    thread = threading.Thread(target=work)
    thread.start()
    assert eventually(lambda: bool(seen), 20)
    answers = 0
    while thread.is_alive() and answers < 5:
        evaluated(session, source)
        answers += 1
        assert len(seen) < len(configs)  # the slider was never last in line
    thread.join(60)
    assert answers == 5
    assert len(seen) == len(configs)
    session.end()
    session.desk.close()


def test_workers_end_with_their_session(desk: Desk) -> None:
    session = Session(desk)
    evaluated(session, iris(session))
    [pid] = session.pids
    folder = next(iter(session._crew.all())).folder
    assert folder.exists()
    del session
    gc.collect()
    assert eventually(lambda: not is_alive(pid))
    assert eventually(lambda: not folder.exists())


def test_workers_end_when_nobody_is_there_and_are_made_again(desk: Desk) -> None:
    there = [True]
    session = Session(desk, wanted=lambda: there[0])
    source = iris(session)
    before = evaluated(session, source)
    [pid] = session.pids
    there[0] = False
    assert eventually(lambda: not is_alive(pid))
    there[0] = True
    assert evaluated(session, source).sqnr_db == before.sqnr_db


def test_idle_workers_end_and_are_made_again() -> None:
    desk = Desk(limits=Limits(idle_seconds=1.0))
    session = Session(desk)
    source = iris(session)
    before = evaluated(session, source)
    [pid] = session.pids
    assert eventually(lambda: not session.pids)
    assert eventually(lambda: not is_alive(pid))
    assert evaluated(session, source).sqnr_db == before.sqnr_db
    desk.close()


def test_too_many_workers_end_the_one_asked_longest_ago() -> None:
    desk = Desk(limits=Limits(alive=2))
    sessions = [Session(desk) for _ in range(3)]
    for session in sessions:
        evaluated(session, iris(session))
    assert eventually(lambda: not sessions[0].pids)
    assert sessions[1].pids
    assert sessions[2].pids
    assert evaluated(sessions[0], iris(sessions[0])).sqnr_db
    desk.close()


SERVER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # else ignored in a background job
from pathlib import Path
from quantlib.workers import Content, Session, Source
session = Session()
session.keep("m", Content("iris", Path(sys.argv[1]).read_bytes()))
session.ask(Source("m", ""), "evaluations.check")
session.keep("slow", Content("slow", Path(sys.argv[2]).read_bytes()))
import threading
arguments = (Source("slow", ""), "evaluations.check")
threading.Thread(target=session.try_out, args=arguments, daemon=True).start()
time.sleep(1)
print(session.desk.parent.pid, *session.pids, session.desk.parent._folder, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_server(tmp_path: Path, how: signal.Signals) -> None:
    slow = tmp_path / "slow.onnx"
    slow.write_bytes(endless_loop().SerializeToString())
    command = [sys.executable, "-c", SERVER, str(SAMPLES / "iris_linear.onnx"), str(slow)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        *numbers, folder = server.stdout.readline().split()
        nursery = int(numbers[0])
        children = Path(f"/proc/{nursery}/task/{nursery}/children").read_text().split()
        pids = [nursery, *map(int, children)]
        assert len(pids) == 3
        assert all(map(is_alive, pids))
        server.send_signal(how)
        try:
            server.wait(20)
        finally:
            server.kill()
    assert eventually(lambda: not any(map(is_alive, pids)))
    assert eventually(lambda: not Path(folder).exists())


def test_workers_are_gone_when_their_parent_is_killed_and_a_new_one_serves() -> None:
    parent = WarmParent()
    desk = Desk(parent, Limits())
    session = Session(desk)
    source = iris(session)
    before = evaluated(session, source)
    [pid], nursery = session.pids, parent.pid
    assert nursery is not None
    os.kill(nursery, signal.SIGKILL)
    assert eventually(lambda: not is_alive(pid))
    assert evaluated(session, source).sqnr_db == before.sqnr_db
    assert parent.pid != nursery
    desk.close()


def test_where_nothing_forks_a_plain_program_does_the_same() -> None:
    desk = Desk(PlainParent(), Limits(seconds=20))
    session = Session(desk)
    source = iris(session)
    assert (
        evaluated(session, source).sqnr_db
        == ql.evaluate(sample("iris_linear").bench, CONFIG).sqnr_db
    )
    bad = Source(kept(session, endless_loop().SerializeToString(), "bad.onnx"), "")
    assert "signal 11" in crash(session, bad)
    assert evaluated(session, source).sqnr_db
    [pid] = session.pids
    session.end()
    assert eventually(lambda: not is_alive(pid))
    desk.close()


def test_a_fork_is_quick(desk: Desk) -> None:
    desk.client().end()
    times = []
    for _ in range(7):
        started = time.monotonic()
        client = desk.client()
        times.append(time.monotonic() - started)
        client.end()
    assert min(times) < 0.05


def test_a_worker_inherits_no_secret_and_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    parent = WarmParent()
    born = parent.bear(Limits())
    found = Path(f"/proc/{born.pid}/environ").read_bytes()
    assert b"secret" not in found
    assert b"OPENBLAS_NUM_THREADS=1" in found
    assert "AWS_SECRET_ACCESS_KEY" not in environment()
    assert eventually(lambda: os.getpgid(born.pid) == born.pid)
    limits = Path(f"/proc/{born.pid}/limits").read_text()
    assert eventually(
        lambda: "Max core file size        0 " in Path(f"/proc/{born.pid}/limits").read_text(), 5
    ), limits
    cwd = Path(f"/proc/{born.pid}/cwd")  # it goes there after it was forked
    assert eventually(lambda: cwd.resolve() == born.folder.resolve())
    parent.end(born)
    assert not born.folder.exists()
    parent.close()


def test_the_memory_of_a_server_does_not_grow_with_questions(session: Session) -> None:
    source = iris(session)
    evaluated(session, source)

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    for _ in range(50):
        evaluated(session, source)
    before = resident()
    for _ in range(300):
        evaluated(session, source)
    assert resident() - before < 4 * 2**20


def test_a_model_given_as_numbers_only_gives_the_same_in_a_worker(session: Session) -> None:
    content = mlp().SerializeToString()
    source = Source(kept(session, content, "mlp"), "")
    graph = ql.load_model(content, name="mlp")
    bench = ql.Workbench(graph, ql.synthetic_data(graph))
    expected = ql.evaluate(bench, CONFIG)
    found = evaluated(session, source)
    assert found.sqnr_db == expected.sqnr_db
    assert np.array_equal(found.scatter, expected.scatter)


MANY = tuple(
    CONFIG.replace(weights=ql.Scheme(w), activations=ql.Scheme(a), input_bits=i, output_bits=16)
    for w in range(2, 17)
    for a in range(2, 17)
    for i in range(2, 17)
)
"""More than are computed in any second."""


def test_a_question_that_is_left_costs_no_worker(session: Session) -> None:
    source = iris(session)
    evaluated(session, source)
    before = session.pids

    class Left(BaseException):
        pass

    ticks: list[int] = []

    def leave(place: int) -> None:
        ticks.append(place)
        if len(ticks) > 2:
            raise Left

    started = time.monotonic()
    with pytest.raises(Left):
        for _ in session.stream(source, "sweep.sweep", (MANY,), tick=leave):
            pass
    assert time.monotonic() - started < 1.0
    assert session.pids == before
    assert evaluated(session, source).sqnr_db
    assert session.pids == before


def test_a_worker_whose_parts_come_fast_is_looked_after(session: Session) -> None:
    source = iris(session)
    configs = tuple(ql.QuantizationConfig.from_n_bits(2 + n % 7) for n in range(100))
    list(session.stream(source, "sweep.sweep", (configs,)))  # from now on all are known
    ticks: list[int] = []
    for _ in session.stream(source, "sweep.sweep", (configs,), tick=ticks.append):
        time.sleep(0.02)  # the next part is there before it is asked for
    assert len(ticks) >= 10


def test_a_question_whose_worker_is_ended_here_waits_no_longer(session: Session) -> None:
    source = iris(session)
    evaluated(session, source)
    (client,) = session._crew.all()
    threading.Timer(0.3, client.end).start()
    started = time.monotonic()
    with pytest.raises(WorkerError, match="ended from outside"):
        for _ in session.stream(source, "sweep.sweep", (MANY,)):
            pass
    assert time.monotonic() - started < 1.5
    assert evaluated(session, source).sqnr_db


def test_a_worker_that_another_replaced_answers_first(desk: Desk) -> None:
    crew, client = Crew(), desk.client()
    crew.retire(client)
    with client.lock:
        crew.tidy()
        assert is_alive(client.pid)
    crew.tidy()
    assert not is_alive(client.pid)
    assert not crew.all()


def test_a_question_left_before_it_is_begun_is_not_computed(desk: Desk) -> None:
    client = desk.client()
    try:
        client._post({"do": "leave", "id": 0})
        with pytest.raises(WorkerError, match="cancelled"):
            list(client.answers(Asked(("none", "", "", False), "evaluations.check")))
    finally:
        client.end()


def test_where_no_process_fits_in_the_workers_that_there_are_go_on(
    monkeypatch: pytest.MonkeyPatch, desk: Desk, session: Session
) -> None:
    """The system's word becomes an answer of the parent, who serves on."""
    source = iris(session)
    expected = evaluated(session, source)

    def full() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    ours, theirs = socket.socketpair()
    with ours, monkeypatch.context() as patched:
        patched.setattr(os, "fork", full)
        answer = Nursery(ours)._fork({"folder": "", "limits": {}}, [theirs.detach()])
        assert "unavailable" in answer["error"]
        assert "files" in Nursery(ours)._fork({"folder": "", "limits": {}}, [])["error"]
    parent = desk.parent
    assert isinstance(parent, WarmParent) and parent._folder is not None
    before, folders = parent.pid, sorted(parent._folder.iterdir())
    reply = parent._reply

    def refused(control: socket.socket) -> dict[str, Any]:
        desk_answer = reply(control)
        os.kill(desk_answer["pid"], signal.SIGKILL)
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(parent, "_reply", refused)
        with pytest.raises(WorkerError, match=r"no worker can be started now .*unavailable"):
            desk.client()
    assert sorted(parent._folder.iterdir()) == folders
    assert parent.pid == before
    assert same(evaluated(session, source), expected)


class Flooding:
    """A parent whose worker sends without end."""

    def __init__(self) -> None:
        self.sent = 0
        self._program = subprocess.Popen(["sleep", "60"], start_new_session=True)
        self._reading, self._writing = os.pipe()

    def warm(self) -> None: ...

    def close(self) -> None: ...

    def bear(self, _: Limits) -> Born:
        threading.Thread(target=self._flood, daemon=True).start()
        return Born(os.fdopen(self._reading, "rb"), io.BytesIO(), self._program.pid, Path())

    def _flood(self) -> None:
        with contextlib.suppress(OSError), os.fdopen(self._writing, "wb") as stream:
            while True:
                wire.send(stream, {"id": -1, "value": bytes(2**20)})
                self.sent += 1

    def end(self, born: Born) -> int:
        self._program.kill()
        self._program.wait()
        born.close()
        return 0


def test_a_worker_that_sends_without_end_is_not_kept_in_memory() -> None:
    parent = Flooding()
    client = Client(parent, Limits(), Slots(1))
    try:
        assert eventually(lambda: parent.sent >= 2)
        time.sleep(0.5)
        assert parent.sent <= 3
    finally:
        client.end()
