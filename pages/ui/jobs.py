"""Long work in a background thread; knows no Streamlit."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from quantlib.errors import QuantlibError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_T = TypeVar("_T")


class Job(Generic[_T]):
    """Work that yields results one by one and can be cancelled.

    Attributes
    ----------
    total : int
        Results expected.
    results : list
        Results so far, those known before the start first; they survive a cancel.
    n_known : int
        Results that were there before the start.
    error : str
        What ended the work early, in words; empty if nothing did.
    source : object
        What the job was started for.
    """

    def __init__(self, *, total: int, source: object, known: Iterable[_T] = ()) -> None:
        self.total = total
        self.source = source
        self.results: list[_T] = list(known)
        self.n_known = len(self.results)
        self.error = ""
        self.started_s = time.monotonic()
        self._ended_s: float | None = None
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def start(
        cls,
        work: Callable[[Callable[[], bool], Callable[[_T], None]], None],
        *,
        total: int,
        source: object,
        known: Iterable[_T] = (),
    ) -> Job[_T]:
        """Run ``work(go_on, add)`` in a daemon thread."""
        job: Job[_T] = cls(total=total, source=source, known=known)

        def run() -> None:
            try:
                work(lambda: not job._cancelled.is_set(), job.results.append)
            except QuantlibError as error:
                job.error = str(error)
            except Exception:  # a thread has nobody else to tell; the log has what it was
                logging.getLogger(__name__).exception("a job ended in a fault")
                job.error = "The work stopped at a fault of this program. What is done stays."
            finally:
                job._ended_s = time.monotonic()

        job._thread = threading.Thread(target=run, daemon=True)
        job._thread.start()
        return job

    @property
    def done(self) -> int:
        """Results so far."""
        return len(self.results)

    @property
    def running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._cancelled.is_set()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start, until the end."""
        return (self._ended_s or time.monotonic()) - self.started_s

    @property
    def seconds_each(self) -> float | None:
        """Seconds per result that this job computed; None before the first."""
        computed = self.done - self.n_known
        return self.elapsed_s / computed if computed > 0 else None

    @property
    def left_s(self) -> float | None:
        """Seconds until the last result, at the pace so far; None before the first."""
        pace = self.seconds_each
        return None if pace is None else pace * max(0, self.total - self.done)

    def wait(self, seconds: float) -> None:
        """Wait for the end, at most so long."""
        if self._thread is not None:
            self._thread.join(seconds)

    def cancel(self) -> None:
        """Ask the work to stop; what is done stays."""
        self._cancelled.set()
