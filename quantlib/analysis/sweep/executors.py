"""Where a sweep runs: threads of this process, other processes, or a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import signal
import tempfile
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from quantlib.errors import OptionsError, SweepError
from quantlib.execution.threads import one_thread_each

if TYPE_CHECKING:
    from collections.abc import Iterator

_T = TypeVar("_T")

_ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://[^/\s]+:\d{1,5}")

CONNECT_S = 10
"""Longest wait for a scheduler or a first worker."""


@contextmanager
def open_executor(
    scheduler: str | None = None, *, workers: int | None = None, processes: bool = False
) -> Iterator[Executor]:
    """Open an executor and close it again; what is queued then is dropped.

    Parameters
    ----------
    scheduler : str, optional
        Address of a Dask scheduler, ``"tcp://host:8786"``; workers of this machine without it.
    workers : int, optional
        Threads or processes; one per processor by default. A cluster has the workers that it has.
    processes : bool
        Processes, where there are several workers. They gain what there are processors; threads
        share the interpreter and gain little, but begin at once.

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
        count = workers or os.cpu_count() or 1
        if processes and count > 1:
            with Processes(count) as pool:
                try:
                    yield pool
                finally:
                    pool.shutdown(cancel_futures=True)
            return
        threads = ThreadPoolExecutor(count)
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


class Processes(ProcessPoolExecutor):
    """Processes of this machine, forked from one that has imported everything; one thread each.

    Parameters
    ----------
    count : int
        How many.
    """

    def __init__(self, count: int) -> None:
        methods = multiprocessing.get_all_start_methods()
        method = "forkserver" if "forkserver" in methods else "spawn"
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(["quantlib.questions"])
        super().__init__(count, mp_context=context, initializer=_begin)
        self._folder = tempfile.TemporaryDirectory(prefix="quantlib-sweep-")

    def lend(self, value: object) -> Any:
        """Write a value down once; return what stands for it on the way to a process."""
        path = Path(self._folder.name) / "lent"
        path.write_bytes(pickle.dumps(value, protocol=5))
        return _Lent(str(path))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; what they were lent is removed."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        self._folder.cleanup()


class _Lent:
    """Stands for a value that processes read from a file; becomes that value where it arrives."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return _read, (self._path,)


@lru_cache(maxsize=2)
def _read(path: str) -> Any:
    """Return a lent value; this process's own file, so that it may be a pickle."""
    return pickle.loads(Path(path).read_bytes())


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever handed the work out decides
    one_thread_each()


def shared(executor: Executor, value: _T) -> _T:
    """Bring a value to all workers once; return what to hand to `submit` in its place.

    Raises
    ------
    SweepError
        The cluster has no worker to bring it to.
    """
    if isinstance(executor, Processes):
        lent: _T = executor.lend(value)
        return lent
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
