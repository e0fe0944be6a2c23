"""Independent pieces of work on an executor."""

from __future__ import annotations

from concurrent.futures import as_completed
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor, Future

_T = TypeVar("_T")


def as_ready(executor: Executor, tasks: Sequence[Callable[[], list[_T]]]) -> Iterator[_T]:
    """Yield what tasks return, in the order in which they end; cancel the rest on leaving."""
    futures: list[Future[list[_T]]] = [executor.submit(task) for task in tasks]
    try:
        for future in as_completed(futures):
            yield from future.result()
    finally:
        for future in futures:
            future.cancel()
