"""Long work in a background thread; knows no Streamlit."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from quantlib.errors import QuantlibError

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class Job(Generic[_T]):
    """Work that yields results one by one and can be cancelled.

    Attributes
    ----------
    total : int
        Results expected.
    results : list
        Results so far; they survive a cancel.
    error : str
        What ended the work early, in words; empty if nothing did.
    source : object
        What the job was started for.
    """

    def __init__(self, *, total: int, source: object) -> None:
        self.total = total
        self.source = source
        self.results: list[_T] = []
        self.error = ""
        self.started_s = time.monotonic()
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def start(
        cls,
        work: Callable[[Callable[[], bool], Callable[[_T], None]], None],
        *,
        total: int,
        source: object,
    ) -> Job[_T]:
        """Run ``work(go_on, add)`` in a daemon thread."""
        job: Job[_T] = cls(total=total, source=source)

        def run() -> None:
            try:
                work(lambda: not job._cancelled.is_set(), job.results.append)
            except QuantlibError as error:
                job.error = str(error)
            except Exception as error:  # a thread has nobody else to tell
                job.error = f"The work stopped at a fault of ours: {error!r}. What is done stays."

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
        """Seconds since the start."""
        return time.monotonic() - self.started_s

    def cancel(self) -> None:
        """Ask the work to stop; what is done stays."""
        self._cancelled.set()
