"""The worker: holds the models of one asker, answers questions by name.

It reads messages until their stream ends, and ends with it.

- ``{"do": "content", "digest", "name", "content"}``: keep bytes. No answer.
- ``{"do": "forget", "digest"}``: drop them. No answer.
- ``{"do": "ask", "id", "source", "question", "args", "kwargs", "grows", "seconds"}``: answered
  with ``{"id", "value"}``, or for a question whose answer grows ``{"id", "part"}`` any number of
  times and ``{"id", "end"}``; or with ``{"id", "error"}``.
- ``{"do": "stop", "id"}``: compute no more than is begun. ``{"do": "leave", "id"}``: stop at once.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import tempfile
import threading
import traceback
from collections import OrderedDict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from quantlib import breadcrumbs
from quantlib.analysis.workbench import Workbench
from quantlib.data import beginning, load_data, seconds_per_sample, synthetic_data
from quantlib.errors import OptionsError, QuantlibError, WorkerError
from quantlib.execution.calls import n_samples
from quantlib.execution.threads import one_thread_each
from quantlib.graph.loader import load_model
from quantlib.questions import QUESTIONS, Stream
from quantlib.workers import limits as limiting
from quantlib.workers import wire
from quantlib.workers.crumbs import BEGUN, READING_DATA, TRACE, CrumbFile
from quantlib.workers.tracing import trace

if TYPE_CHECKING:
    from types import FrameType

    from quantlib.graph.model import Graph

QUICK_S = 0.5
"""Longest pass over one set of samples, as estimated, that needs no preview, s."""

PREVIEW_S = 0.25
"""Longest pass of a preview, s: first figures take a handful of passes."""

BENCHES = 4
"""Models on data that a worker holds."""

INTERRUPT = getattr(signal, "SIGUSR1", signal.SIGINT)

_MEMORY_WORDS = ("bad_alloc", "Failed to allocate memory", "Unable to allocate", "out of memory")


class _LeftError(BaseException):
    """Nobody wants the answer any more."""


class Worker:
    """One process's models and the question that it is asked.

    Parameters
    ----------
    reader, writer : binary streams
        Where messages come from, where answers go.
    crumbs : CrumbFile
        Where is said what is being computed.
    """

    def __init__(self, reader: IO[bytes], writer: IO[bytes], crumbs: CrumbFile) -> None:
        self._reader, self._writer, self._crumbs = reader, writer, crumbs
        self._asked: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._contents: dict[str, tuple[str, bytes]] = {}
        self._graphs: OrderedDict[str, Graph] = OrderedDict()
        self._benches: OrderedDict[tuple[str, str, str, bool], Workbench] = OrderedDict()
        self._current = -1
        self._unwanted: set[int] = set()
        self._may_leave = False

    def serve(self) -> None:
        """Answer until the stream of messages ends."""
        signal.signal(INTERRUPT, self._leave)
        threading.Thread(target=self._read, daemon=True).start()
        while (message := self._asked.get()) is not None:
            if message["do"] == "content":
                self._contents[message["digest"]] = (message["name"], message["content"])
            elif message["do"] == "forget":
                self._forget(message["digest"])
            else:
                self._answer(message)

    def _read(self) -> None:
        """Take messages as they come; a question at work hears of its end at once."""
        try:
            while (found := wire.receive(self._reader)) is not None:
                message = wire.unpacked(*found)
                if message["do"] in ("stop", "leave"):
                    self._unwanted.add(message["id"])
                    if message["do"] == "leave" and message["id"] == self._current:
                        signal.pthread_kill(threading.main_thread().ident or 0, INTERRUPT)
                else:
                    self._asked.put(message)
        except (OSError, WorkerError):
            pass
        finally:
            os._exit(0)  # whoever asked is gone, and whatever runs is for nobody

    def _leave(self, _signal: int, _frame: FrameType | None) -> None:
        if self._may_leave and self._current in self._unwanted:
            self._may_leave = False
            raise _LeftError

    def _answer(self, message: dict[str, Any]) -> None:
        number = self._current = message["id"]
        limiting.allow_seconds(message["seconds"])
        breadcrumbs.leave(BEGUN)
        try:
            try:
                self._may_leave = True
                if number in self._unwanted:  # before it was begun
                    raise _LeftError
                reply = self._computed(number, message)
            finally:
                self._may_leave = False
        except _LeftError:
            reply = {"error": wire.error_record(WorkerError("the question was cancelled."))}
        except QuantlibError as error:
            memory = _is_memory(error)
            reply = {"memory": True} if memory else {"error": wire.error_record(error)}
        except MemoryError:
            reply = {"memory": True}
        except Exception as error:
            if _is_memory(error):
                reply = {"memory": True}
            else:
                traceback.print_exc(file=sys.stderr)
                reply = {"fault": f"{type(error).__name__}: {error}"[:300]}
        if "memory" not in reply:
            breadcrumbs.leave("")
        self._send({"id": number, **reply})
        self._unwanted.discard(number)

    def _computed(self, number: int, message: dict[str, Any]) -> dict[str, Any]:
        """Return the last message of an answer, after sending those before it."""
        if message["question"] == TRACE:
            trace(self._contents[message["source"][0]][1], self._crumbs.hold)
            return {"value": None}
        question = QUESTIONS.get(message["question"])
        if question is None:
            raise OptionsError(f"there is no question {message['question']!r}.")
        bench = self._bench(*message["source"])
        args, kwargs = message["args"], message["kwargs"]
        if not message["grows"]:
            return {"value": question(bench, *args, **kwargs)}
        assert isinstance(question, Stream)
        for part in question.until(lambda: number not in self._unwanted, bench, *args, **kwargs):
            self._may_leave = False  # a message is sent whole
            self._send({"id": number, "part": part})
            self._may_leave = True
        return {"end": True}

    def _send(self, message: dict[str, Any]) -> None:
        try:
            parts = wire.packed(message)
        except TypeError as error:
            parts = wire.packed({"id": message["id"], "fault": str(error)})
        for part in parts:
            self._writer.write(part)
        self._writer.flush()

    def _bench(self, model: str, data: str, output: str, preview: bool) -> Workbench:
        """Return a model on its data, or on the beginning of them, loaded when it is new."""
        key = (model, data, output, preview)
        if key not in self._benches:
            graph = self._graph(model)
            if preview:
                self._benches[key] = _preview(self._bench(model, data, output, False))
            elif data:
                name, content = self._contents[data]
                breadcrumbs.leave(READING_DATA)
                found = load_data(content, graph, name=name)
                self._benches[key] = Workbench(graph, found, output=output or None)
            else:
                self._benches[key] = Workbench(graph, synthetic_data(graph), output=output or None)
        self._benches.move_to_end(key)
        while len(self._benches) > BENCHES:
            self._benches.popitem(last=False)
        return self._benches[key]

    def _graph(self, digest: str) -> Graph:
        if digest not in self._graphs:
            name, content = self._contents[digest]
            breadcrumbs.leave("reading the model")
            self._graphs[digest] = load_model(content, name=name)
        self._graphs.move_to_end(digest)
        while len(self._graphs) > BENCHES:
            self._graphs.popitem(last=False)
        return self._graphs[digest]

    def _forget(self, digest: str) -> None:
        self._contents.pop(digest, None)
        self._graphs.pop(digest, None)
        for key in [key for key in self._benches if digest in key[:2]]:
            del self._benches[key]


def _preview(bench: Workbench) -> Workbench:
    """Return a workbench on as many samples as are quick; the same where all are."""
    count = max(
        n_samples(bench.graph, arrays) for arrays in (bench.data.calibration, bench.data.evaluation)
    )
    each = seconds_per_sample(bench.graph)
    if count * each <= QUICK_S:
        return bench
    few = beginning(bench.graph, bench.data, int(PREVIEW_S / each))
    if few is bench.data:
        return bench
    return Workbench(bench.graph, few, memo=bench.memo, output=bench.output)


def _is_memory(error: BaseException | None) -> bool:
    """Tell whether an error, or what caused it, is that memory is at an end."""
    while error is not None:
        if isinstance(error, MemoryError) or any(word in str(error) for word in _MEMORY_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def run(reader: IO[bytes], writer: IO[bytes], folder: Path, limits: limiting.Limits) -> None:
    """Be a worker in an empty folder of its own, until the stream of messages ends."""
    os.chdir(folder)
    os.environ.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP", "HOME"), str(folder)))
    tempfile.tempdir = str(folder)
    limiting.impose(limits)
    one_thread_each()
    crumbs = CrumbFile(folder)
    breadcrumbs.listen(crumbs.leave)
    Worker(reader, writer, crumbs).serve()


def main() -> None:
    """Be a worker on standard input and output, where processes cannot be forked."""
    folder, limits = Path(sys.argv[1]), limiting.Limits.from_environment()
    reader = os.fdopen(os.dup(0), "rb")
    writer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no message
    with contextlib.suppress(AttributeError, OSError):
        os.setsid()
    run(reader, writer, folder, limits)


if __name__ == "__main__":
    main()
