"""What an application holds per person: their bytes, and the workers that know them."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from quantlib.errors import QuantlibError, WorkerError
from quantlib.workers.client import TICK_S, Asked, Client, FaultError, Part, StoppedError
from quantlib.workers.crumbs import NODE, READING_DATA, TRACE
from quantlib.workers.desk import Crew, Desk
from quantlib.workers.slots import Urgency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TRACE_S = 1.2
"""How long is looked for the node at which a worker ended, s."""

HELD_BYTES = 320 * 2**20
"""Bytes of models and data that are kept per person; what was used longest ago goes first."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """Which model on which data.

    Parameters
    ----------
    model, data : str
        SHA-256 digests; ``data`` is ``""`` for generated data.
    output : str
        The model output that figures are of; ``""`` for the worst.
    preview : bool
        Whether the first samples are enough, where all take long. It is how to answer, not what
        about, and no part of what a source is equal to.
    """

    model: str
    data: str
    output: str = ""
    preview: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Content:
    """A file's name and bytes."""

    name: str
    content: bytes


class IdleDeathError(WorkerError):
    """A worker had ended before it began with a question: it can be asked again."""


class Session:
    """One person's models, data and workers.

    Parameters
    ----------
    desk : Desk, optional
        Where workers come from; that of this process by default.
    wanted : callable, optional
        Whether somebody is there; while nobody is, the session has no workers. It must not refer
        to the session.

    Notes
    -----
    A worker that is gone is made again from the bytes that are kept here when the next question
    comes. All workers of a session end with it, when nobody refers to it any more.
    """

    def __init__(
        self, desk: Desk | None = None, *, wanted: Callable[[], bool] = lambda: True
    ) -> None:
        self.desk = desk or Desk.here()
        self._contents: OrderedDict[str, Content] = OrderedDict()
        self._lock = threading.RLock()
        self._crew = Crew(wanted)
        self.desk.enlist(self._crew)
        weakref.finalize(self, self.desk.dismiss, self._crew)

    def keep(self, digest: str, content: Content) -> None:
        """Keep bytes under their digest."""
        with self._lock:
            self._contents[digest] = content
            self._contents.move_to_end(digest)
            while self._size() > HELD_BYTES and len(self._contents) > 2:
                self._contents.popitem(last=False)

    def _size(self) -> int:
        return sum(len(entry.content) for entry in self._contents.values())

    def holds(self, digest: str) -> bool:
        """Tell whether bytes are here."""
        return digest in self._contents

    def forget(self, digest: str) -> None:
        """Drop bytes, here and in the worker."""
        with self._lock:
            self._contents.pop(digest, None)
            if (front := self._crew.front) is not None:
                front.forget(digest)

    def ask(
        self,
        source: Source,
        question: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        tick: Callable[[int], None] = lambda _: None,
    ) -> Part:
        """Return the answer of this session's worker, and its size on the way.

        Parameters
        ----------
        source : Source
            Model and data, kept here.
        question : str
            Its name in `quantlib.questions.QUESTIONS`.
        args : tuple
        kwargs : dict
            Its arguments.
        tick : callable
            Called several times a second with the place in the line, 0 while it is computed. What
            it raises ends the question.

        Raises
        ------
        WorkerError
            The worker died or passed a limit; the next question gets a new one.
        QuantlibError
            What the question raises.
        """
        asked = Asked(_named(source), question, args, kwargs)
        try:
            return self._answer(source, asked, tick)
        except IdleDeathError:  # it was gone before it was asked
            return self._answer(source, asked, tick)

    def _answer(self, source: Source, asked: Asked, tick: Callable[[int], None]) -> Part:
        with self._fronted(tick) as client:
            [answer] = self._told(client, source, asked, tick=tick)
        return answer

    def stream(
        self,
        source: Source,
        question: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        tick: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Any]:
        """Yield the parts of a growing answer of this session's worker; see `ask`."""
        asked = Asked(_named(source), question, args, kwargs, grows=True)
        with self._fronted(tick) as client:
            for part in self._told(client, source, asked, tick=tick):
                yield part.value

    def try_out(
        self,
        source: Source,
        question: str,
        *,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """Ask about new bytes in a worker of their own, which becomes the session's if all is well.

        What was there before is untouched if they end the worker, or are refused.
        """
        client = self.desk.client()
        try:
            asked = Asked(_named(source), question)
            for _ in self._told(client, source, asked, go_on=go_on):
                break
            else:
                raise WorkerError(f"{self._name(source)}: loading was cancelled.")
        except BaseException:
            client.end()
            raise
        with self._lock:  # nobody else makes a first worker meanwhile
            before, self._crew.front = self._crew.front, client
        if before is not None:
            self._crew.retire(before)

    def background(
        self,
        source: Source,
        question: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        grows: bool = True,
        go_on: Callable[[], bool] = lambda: True,
    ) -> Iterator[Any]:
        """Yield the parts of an answer of another worker, which leaves the first free.

        Parameters
        ----------
        source, question, args, kwargs
            As for `ask`.
        grows : bool
            Whether it answers in parts.
        go_on : callable
            Asked several times a second; after False the work ends within a second.
        """
        asked = Asked(_named(source), question, args, kwargs, grows=grows, urgency=Urgency.LATER)
        with self.helper() as client:
            for part in self._told(client, source, asked, go_on=go_on):
                yield part.value

    def refine(
        self,
        source: Source,
        asked: Sequence[tuple[str, tuple[Any, ...]]],
        *,
        go_on: Callable[[], bool] = lambda: True,
    ) -> Iterator[Part]:
        """Yield the answers to several questions of a worker that then becomes the first one.

        What it found out while it answered is then at hand for the questions that come after.
        """
        with self.helper() as client:
            for question, args in asked:
                wanted = Asked(_named(source), question, args, urgency=Urgency.LATER)
                yield from self._told(client, source, wanted, go_on=go_on)
        with self._lock:
            self._crew.promote(client)

    @contextlib.contextmanager
    def helper(self) -> Iterator[Client]:
        """Lend a worker for work in the background."""
        client = self._crew.spare()
        if client is None:
            client = self.desk.client()
        self._crew.busy(client)
        try:
            with client.lock:
                yield client
        finally:
            self._crew.free(client)

    def told(
        self,
        client: Client,
        source: Source,
        question: str,
        args: tuple[Any, ...],
        *,
        go_on: Callable[[], bool],
    ) -> Iterator[Any]:
        """Yield the answer of a worker that was lent by `helper`."""
        asked = Asked(_named(source), question, args, urgency=Urgency.LATER)
        for part in self._told(client, source, asked, go_on=go_on):
            yield part.value

    @contextlib.contextmanager
    def _fronted(self, tick: Callable[[int], None]) -> Iterator[Client]:
        """Lend the worker that answers whom somebody waits for."""
        while True:
            with self._lock:
                client = self._crew.front
                if client is None or client.gone:
                    client = self._crew.front = self.desk.client()
            while not client.lock.acquire(timeout=TICK_S):
                tick(1)
            try:
                if client.gone:  # while this waited
                    continue
                yield client
                return
            finally:
                client.lock.release()

    def _told(
        self,
        client: Client,
        source: Source,
        asked: Asked,
        *,
        tick: Callable[[int], None] = lambda _: None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> Iterator[Part]:
        """Give a worker the bytes that it lacks and ask; say in a sentence why it is gone."""
        self._supply(client, source)
        try:
            yield from client.answers(asked, tick=tick, go_on=go_on)
        except StoppedError as error:
            if error.why == "left":
                return
            if error.why in ("died", "killed") and not error.crumb:
                raise IdleDeathError(self._sentence(source, error, "")) from error
            raise WorkerError(self._sentence(source, error, self._place(source, error))) from error
        except FaultError as error:
            _LOG.error("a worker ended a question in a fault: %s", error)
            raise WorkerError(
                f"{self._name(source)}: this cannot be computed, by a fault of this program, not "
                "of yours; use another model or other data. Everything else is as before."
            ) from error

    def _place(self, source: Source, error: StoppedError) -> str:
        """Return what a worker computed when it ended: the node, where that can be found out.

        ONNX Runtime runs all nodes in one call; then a worker of its own tries them one by one.
        """
        if error.why in ("killed", "disk") or error.crumb.startswith((NODE, READING_DATA)):
            return error.crumb
        client = self.desk.client()
        try:
            self._supply(client, Source(source.model, ""))
            for _ in client.answers(Asked((source.model, "", "", False), TRACE, seconds=TRACE_S)):
                pass
        except StoppedError as found:
            return found.crumb if found.crumb.startswith(NODE) else error.crumb
        except QuantlibError:
            pass
        finally:
            client.end()
        return error.crumb

    def _supply(self, client: Client, source: Source) -> None:
        for digest in filter(None, (source.model, source.data)):
            with self._lock:
                entry = self._contents.get(digest)
                if entry is None:
                    raise WorkerError(
                        "the file is not kept any more: files of more than "
                        f"{HELD_BYTES // 2**20} MiB came after it. Upload it again."
                    )
                self._contents.move_to_end(digest)
            client.give(digest, entry.name, entry.content)

    def _name(self, source: Source) -> str:
        entry = self._contents.get(source.model)
        return entry.name if entry is not None else "the model"

    def _sentence(self, source: Source, error: StoppedError, crumb: str) -> str:
        """Return what a person reads about a worker that is gone."""
        limits = self.desk.limits
        name = self._name(source)
        seconds = f"{limits.seconds:.0f}" if limits.seconds >= 2 else f"{limits.seconds:g}"
        if crumb == READING_DATA and source.data in self._contents:
            name = self._contents[source.data].name
        at = f" at {crumb}" if crumb.startswith(NODE) else ""
        what = {
            "died": "this model stopped the program that ran it (signal "
            f"{error.signal_number}){at}; export it without what is named here, or use another",
            "killed": f"the program that ran this model was ended from outside{at}, as a machine "
            "does that is out of memory; try again, or use a smaller model or less data",
            "seconds": f"this took more than {seconds} seconds{at} and was stopped; it "
            "may never end, or needs a smaller model or less data",
            "memory": f"this needs more than the {limits.memory_mb} MiB of memory that one person "
            f"has here{at}; use a smaller model or fewer samples",
            "disk": f"this needs more than the {limits.disk_mb} MiB of disk that one person has "
            f"here{at}; use a smaller model or fewer samples",
        }[error.why]
        return f"{name}: {what}. Everything else is as before."

    @property
    def pids(self) -> tuple[int, ...]:
        """Process numbers of the workers that this session has now."""
        return self._crew.pids

    def end(self) -> None:
        """End all workers of this session."""
        self.desk.dismiss(self._crew)


def _named(source: Source) -> tuple[str, str, str, bool]:
    return source.model, source.data, source.output, source.preview
