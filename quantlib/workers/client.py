"""One worker process as its asker sees it: questions go in, values come out, or it is ended."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantlib.errors import WorkerError
from quantlib.workers import wire
from quantlib.workers.crumbs import last_crumb
from quantlib.workers.limits import resident_bytes
from quantlib.workers.slots import Ticket, Urgency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from quantlib.workers.limits import Limits
    from quantlib.workers.parents import Parent
    from quantlib.workers.slots import Slots

TICK_S = 0.05
"""How often an asker that waits looks around."""

GRACE_S = 0.4
"""How long a worker may take to leave a question that nobody wants any more, s."""

MAX_ANSWER_BYTES = 512 * 2**20
"""Longest message that a worker may send; three are held at most, when it sends without end."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to a worker.

    Parameters
    ----------
    source : (str, str, str, bool)
        Digests of model and data, the output that leads, and whether a preview is enough.
    question : str
        Its name in `quantlib.questions.QUESTIONS`.
    args : tuple
    kwargs : dict
        Its arguments.
    grows : bool
        Whether its answer comes in parts.
    urgency : Urgency
        Whether somebody waits.
    seconds : float, optional
        Longest computation, in place of what the limits say.
    """

    source: tuple[str, str, str, bool]
    question: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None
    grows: bool = False
    urgency: Urgency = Urgency.NOW
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """An answer or a part of one, and how many bytes it was on the way."""

    value: Any
    n_bytes: int


class StoppedError(WorkerError):
    """A worker is gone.

    Parameters
    ----------
    why : str
        ``"died"``, ``"killed"`` (from outside), ``"seconds"``, ``"memory"``, ``"disk"`` or
        ``"left"`` (its asker wanted no answer any more).
    crumb : str
        What it was computing, where that is known.
    signal_number : int
        What ended it.
    """

    def __init__(self, why: str, crumb: str = "", signal_number: int = 0) -> None:
        super().__init__(f"the worker is gone: {why} {crumb}".strip())
        self.why = why
        self.crumb = crumb
        self.signal_number = signal_number


class FaultError(WorkerError):
    """A question ended with an error that is none of the library's own."""


class Client:
    """A worker process.

    Parameters
    ----------
    parent : Parent
        Who starts and ends it.
    limits : Limits
        What it may take.
    slots : Slots
        Who computes when.
    """

    def __init__(self, parent: Parent, limits: Limits, slots: Slots) -> None:
        self._parent, self._limits, self._slots = parent, limits, slots
        self._born = parent.bear(limits)
        self.pid = self._born.pid
        self.contents: set[str] = set()
        self.lock = threading.Lock()
        self.used_at = time.monotonic()
        self.gone = False
        self._numbers = itertools.count()
        self._writing = threading.Lock()
        self._ending = threading.Lock()
        self._inbox: queue.Queue[tuple[bytes, list[bytes]] | Exception | None] = queue.Queue(1)
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def folder(self) -> Path:
        """The worker's own folder."""
        return self._born.folder

    def give(self, digest: str, name: str, content: bytes) -> None:
        """Send bytes, once."""
        if digest not in self.contents:
            self.contents.add(digest)
            self._post({"do": "content", "digest": digest, "name": name, "content": content})

    def forget(self, digest: str) -> None:
        """Let the worker drop bytes, and what was made of them."""
        if digest in self.contents:
            self.contents.discard(digest)
            self._post({"do": "forget", "digest": digest})

    def answers(
        self,
        asked: Asked,
        *,
        tick: Callable[[int], None] = lambda _: None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> Iterator[Part]:
        """Yield the answer, or each part of an answer that grows.

        Parameters
        ----------
        asked : Asked
            The question. The caller holds `lock`.
        tick : callable
            Called several times a second with the place in the line, 0 while it is computed.
            What it raises ends the question.
        go_on : callable
            Asked as often; after False the worker ends soon, in order if it can.

        Raises
        ------
        StoppedError
            The worker is gone.
        QuantlibError
            What the question raises.
        """
        number = next(self._numbers)
        ticket = Ticket(asked.urgency, self._pause, self._resume)
        self._slots.enter(ticket)
        try:
            while not ticket.granted.wait(TICK_S):
                tick(self._slots.place(ticket))
                if not go_on():
                    return
            yield from self._computed(number, asked, ticket, tick, go_on)
        finally:
            self._slots.leave(ticket)
            self.used_at = time.monotonic()

    def _computed(
        self,
        number: int,
        asked: Asked,
        ticket: Ticket,
        tick: Callable[[int], None],
        go_on: Callable[[], bool],
    ) -> Iterator[Part]:
        seconds = self._limits.silence_seconds if asked.grows else self._limits.seconds
        seconds = seconds if asked.seconds is None else asked.seconds
        self._post(
            {
                "do": "ask",
                "id": number,
                "source": asked.source,
                "question": asked.question,
                "args": asked.args,
                "kwargs": asked.kwargs or {},
                "grows": asked.grows,
                "seconds": seconds,
            }
        )
        heard_s = ticket.ran_s
        stopped_at: float | None = None
        ended = False
        try:
            looked_at = time.monotonic()
            while True:
                if time.monotonic() - looked_at >= TICK_S:  # however fast parts come
                    looked_at = time.monotonic()
                    tick(self._slots.place(ticket))
                    self._watch(ticket.ran_s - heard_s, seconds)
                    if not go_on():
                        stopped_at = self._stop(number, stopped_at)
                try:
                    found = self._inbox.get(timeout=TICK_S)
                except queue.Empty:
                    if self.gone:
                        raise self._gone("killed") from None
                    continue
                heard_s = ticket.ran_s
                message = self._message(found)
                if message.get("id") != number:
                    continue
                if "part" in message:
                    yield Part(message["part"], _length(found))
                    if not go_on():
                        stopped_at = self._stop(number, stopped_at)
                    continue
                ended = True
                if "value" in message:
                    yield Part(message["value"], _length(found))
                elif "error" in message:
                    if stopped_at is None:
                        raise wire.error_of(message["error"])
                elif "memory" in message:
                    raise self._gone("memory")
                elif "fault" in message:
                    raise FaultError(str(message["fault"]))
                return
        finally:
            if not ended and not self.gone:
                self._leave(number)

    def _message(self, found: tuple[bytes, list[bytes]] | Exception | None) -> dict[str, Any]:
        if found is None or isinstance(found, Exception):
            raise self._gone("died")
        try:
            message = wire.unpacked(*found)
            if not isinstance(message, dict):
                raise wire.WireError("an answer is no message.")
        except wire.WireError:
            self.end()
            raise
        return message

    def _watch(self, elapsed_s: float, seconds: float) -> None:
        """End a worker that takes more than it may."""
        if elapsed_s > seconds:
            raise self._gone("seconds")
        if resident_bytes(self.pid) > self._limits.memory_mb * 2**20:
            raise self._gone("memory")
        if _size_of(self._born.folder) > self._limits.disk_mb * 2**20:
            raise self._gone("disk")

    def _gone(self, why: str) -> StoppedError:
        """End the worker and say why it is gone; one that died tells by its signal."""
        if self.gone:  # ended here, by whoever thought that nobody needs it
            return StoppedError("killed")
        crumb = last_crumb(self._born.folder)
        number = self.end()
        if why == "died":
            outside = {signal.SIGKILL: "killed", getattr(signal, "SIGTERM", 15): "killed"}
            time_is_up = {getattr(signal, "SIGXCPU", None): "seconds"}
            why = {**outside, **time_is_up}.get(number, "died")
        return StoppedError(why, crumb, number)

    def _stop(self, number: int, stopped_at: float | None) -> float:
        """Ask the worker to compute no more, then to leave at once, then end it."""
        now = time.monotonic()
        if stopped_at is None:
            self._post({"do": "stop", "id": number})
            return now
        if now - stopped_at > 2 * GRACE_S:
            self.end()
            raise StoppedError("left")
        if now - stopped_at > GRACE_S:
            self._post({"do": "leave", "id": number})
        return stopped_at

    def _leave(self, number: int) -> None:
        """Free the worker of a question; end it if it does not let go."""
        self._resume()
        self._post({"do": "leave", "id": number})
        until = time.monotonic() + GRACE_S
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty, WorkerError):
                message = self._message(self._inbox.get(timeout=left))
                if message.get("id") == number and "part" not in message:
                    return
            if self.gone:
                return
        self.end()

    def _post(self, message: dict[str, Any]) -> None:
        """Send a message; a worker that is gone is noticed where its answer is awaited."""
        with self._writing, contextlib.suppress(OSError, ValueError):
            wire.send(self._born.writer, message)

    def _read(self) -> None:
        """Take messages from the worker until it is gone."""
        found: tuple[bytes, list[bytes]] | Exception | None
        while True:
            try:
                found = wire.receive(self._born.reader, at_most=MAX_ANSWER_BYTES)
            except (OSError, ValueError, MemoryError, WorkerError) as error:
                found = error
            while not self.gone:
                with contextlib.suppress(queue.Full):
                    self._inbox.put(found, timeout=1.0)
                    break
            if self.gone or found is None or isinstance(found, Exception):
                return

    def _pause(self) -> bool:
        return self._signal("SIGSTOP")

    def _resume(self) -> None:
        self._signal("SIGCONT")

    def _signal(self, name: str) -> bool:
        """Send a signal to the worker and all it started; return whether that can be done."""
        with self._ending:
            if self.gone or not hasattr(os, "killpg"):
                return False
            try:
                os.killpg(self.pid, getattr(signal, name))
            except (ProcessLookupError, PermissionError):
                return False
            return True

    def end(self) -> int:
        """End the worker; return the signal that ended it."""
        with self._ending:
            if self.gone:
                return 0
            self.gone = True
            return self._parent.end(self._born)


def _length(found: tuple[bytes, list[bytes]] | Exception | None) -> int:
    assert isinstance(found, tuple)
    return len(found[0]) + sum(map(len, found[1]))


def _size_of(folder: Path) -> int:
    """Return how many bytes lie in a folder and all below it."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118
    return total
