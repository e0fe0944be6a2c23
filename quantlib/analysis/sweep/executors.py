"""Where a sweep runs: threads of this process, or the workers of a Dask cluster."""

from __future__ import annotations

import os
import re
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from quantlib.errors import OptionsError, SweepError

if TYPE_CHECKING:
    from collections.abc import Iterator

_T = TypeVar("_T")

_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://[^/\s]+:\d{1,5}")

CONNECT_S = 10
"""Longest wait for a scheduler or a first worker."""


@contextmanager
def open_executor(
    scheduler: str | None = None, *, workers: int | None = None
) -> Iterator[Executor]:
    """Open an executor and close it again; what is queued then is dropped.

    Parameters
    ----------
    scheduler : str, optional
        Address of a Dask scheduler, ``"tcp://host:8786"``; threads without it.
    workers : int, optional
        Threads; one per processor by default. A cluster has the workers that it has.

    Yields
    ------
    concurrent.futures.Executor

    Raises
    ------
    OptionsError
        `scheduler` and `workers` together, no address, or a scheduler without the extra ``dask``.
    SweepError
        No scheduler answers at this address.
    """
    if scheduler is None:
        threads = ThreadPoolExecutor(workers or os.cpu_count() or 1)
        try:
            yield threads
        finally:
            threads.shutdown(cancel_futures=True)
        return
    if workers is not None:
        raise OptionsError("got a scheduler and a number of workers; a cluster has its own.")
    if not _ADDRESS.fullmatch(scheduler):
        raise OptionsError(
            f"the scheduler is {scheduler!r}; give its address as in tcp://host:8786."
        )
    try:
        from distributed import Client
    except ImportError:
        raise OptionsError(
            "a scheduler needs Dask; install quantization-explorer[dask] or leave it out."
        ) from None
    try:
        client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SweepError(
            f"no Dask scheduler answers at {scheduler} ({type(error).__name__}); start one with "
            "`dask scheduler` and check the address."
        ) from None
    try:
        yield client.get_executor(pure=False)
    finally:
        client.close(timeout=CONNECT_S)


def shared(executor: Executor, value: _T) -> _T:
    """Bring a value to all workers once; return what to hand to `submit` in its place.

    Raises
    ------
    SweepError
        The cluster has no worker to bring it to.
    """
    client = _client(executor)
    if client is None:
        return value
    try:
        sent: _T = client.scatter(value, broadcast=True, hash=False, timeout=CONNECT_S)
    except Exception as error:
        if not is_loss(error):
            raise
        raise SweepError(
            f"the Dask cluster takes no data ({type(error).__name__}); start its workers with "
            "`dask worker` and try again."
        ) from error
    return sent


def is_lost(executor: Executor) -> bool:
    """Tell whether nobody is left to work; may take seconds on a cluster."""
    client = _client(executor)
    if client is None:
        return False
    try:
        return client.status != "running" or not client.nthreads()
    except Exception as error:
        if is_loss(error):
            return True
        raise


def is_loss(error: BaseException) -> bool:
    """Tell whether an error means that workers are gone, not that the work is wrong."""
    kinds = (BrokenExecutor, CancelledError, TimeoutError, OSError)
    return isinstance(error, kinds) or type(error).__module__.split(".")[0] == "distributed"


def _client(executor: Executor) -> Any:
    """Return the Dask client behind an executor, None for any other."""
    # distributed's executor has no public way to bring data to workers before tasks
    client = getattr(executor, "_client", None)
    return client if hasattr(client, "scatter") else None
