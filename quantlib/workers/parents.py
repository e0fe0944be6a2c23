"""How a worker process comes to life and ends: forked from a warm parent, or started plainly."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from quantlib.errors import WorkerError
from quantlib.workers.limits import PREFIX

if TYPE_CHECKING:
    from quantlib.workers.limits import Limits

_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT", "VIRTUAL_ENV")
"""Environment variables that a worker gets; anything else may be a secret."""

_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(slots=True)
class Born:
    """A process that was just started.

    Parameters
    ----------
    reader, writer : binary streams
        Its answers and its questions.
    pid : int
        Its number, and its process group's.
    folder : Path
        Its own, empty at first; removed when it has ended.
    """

    reader: IO[bytes]
    writer: IO[bytes]
    pid: int
    folder: Path

    def close(self) -> None:
        """Close both streams."""
        for stream in (self.writer, self.reader):
            with contextlib.suppress(OSError, ValueError):
                stream.close()


class Parent(Protocol):
    """Makes workers and ends them."""

    def warm(self) -> None:
        """Get ready to start workers."""

    def bear(self, limits: Limits) -> Born:
        """Start a worker."""

    def end(self, born: Born) -> int:
        """Kill a worker with all it started, and remove its folder.

        Returns
        -------
        int
            The signal that ended it, this one's if nothing had before; 0 if it had left by itself.
        """

    def close(self) -> None:
        """End all workers."""


def best_parent() -> Parent:
    """Return the quickest kind of parent that this system has."""
    return WarmParent() if hasattr(os, "fork") and hasattr(socket, "send_fds") else PlainParent()


def environment() -> dict[str, str]:
    """Return the environment of workers: no secrets, one thread, this process's modules."""
    found = {name: os.environ[name] for name in _KEPT if name in os.environ}
    found |= {name: words for name, words in os.environ.items() if name.startswith(PREFIX)}
    found |= dict.fromkeys(_ONE_THREAD, "1")
    found["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    return found


class WarmParent:
    """A process of its own that has imported everything and forks; see `nursery`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._program: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._folder: Path | None = None

    def warm(self) -> None:
        """Start the parent; what keeps it from starting is said when a worker is wanted."""
        with self._lock, contextlib.suppress(OSError):
            self._started()

    def bear(self, limits: Limits) -> Born:
        """Start a worker, and the parent before it if there is none, or it is gone."""
        with self._lock:
            for last in (False, True):
                try:
                    return self._bear(limits)
                except OSError as error:
                    self._drop()
                    if last:
                        raise WorkerError(
                            f"no worker can be started ({error}); start the program again."
                        ) from error
        raise AssertionError

    def _bear(self, limits: Limits) -> Born:
        control = self._started()
        assert self._folder is not None
        folder = Path(tempfile.mkdtemp(prefix="worker-", dir=self._folder))
        ours, theirs = socket.socketpair()
        with ours:  # the streams keep it open
            with theirs:
                order = {"do": "fork", "folder": str(folder), "limits": asdict(limits)}
                socket.send_fds(control, [json.dumps(order).encode()], [theirs.fileno()])
            answer = self._reply(control)
            if "error" in answer:
                shutil.rmtree(folder, ignore_errors=True)
                raise WorkerError(f"no worker can be started now ({answer['error']}); try again.")
            return Born(ours.makefile("rb"), ours.makefile("wb"), answer["pid"], folder)

    def end(self, born: Born) -> int:
        """Kill a worker with all it started."""
        with self._lock:
            try:
                if self._control is None:
                    raise OSError
                order = {"do": "end", "pid": born.pid}
                self._control.sendall(json.dumps(order).encode())
                status = self._reply(self._control)["status"]
            except OSError:  # then the workers have ended with it
                status = signal.SIGKILL
                shutil.rmtree(born.folder, ignore_errors=True)
        born.close()
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

    def close(self) -> None:
        """End the parent, and with it all workers."""
        with self._lock:
            self._drop()

    @property
    def pid(self) -> int | None:
        """The parent's process number, while there is one."""
        return self._program.pid if self._program is not None else None

    def _started(self) -> socket.socket:
        if self._control is not None:
            return self._control
        self._folder = Path(tempfile.mkdtemp(prefix="quantlib-"))
        ours, theirs = socket.socketpair()
        with theirs:
            self._program = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "quantlib.workers.nursery",
                    str(theirs.fileno()),
                    str(self._folder),
                ],
                env=environment(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=2,  # nothing that a library prints is ours
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for whoever started it
            )
        self._control = ours
        self._reply(ours)
        return ours

    def _reply(self, control: socket.socket) -> dict[str, Any]:
        """Return the parent's answer."""
        line = b""
        while not line.endswith(b"\n"):
            part = control.recv(65536)
            if not part:
                raise OSError("the parent of workers is gone")
            line += part
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _drop(self) -> None:
        """Forget the parent; it ends when its socket does."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._program is not None:
            try:
                self._program.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._program.kill()
                self._program.wait()
            self._program = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


class PlainParent:
    """Starts every worker as a new program: slower, everywhere."""

    def __init__(self) -> None:
        self._programs: dict[int, subprocess.Popen[bytes]] = {}

    def warm(self) -> None:
        """Do nothing: every worker is a program of its own."""

    def bear(self, limits: Limits) -> Born:
        """Start a worker."""
        folder = Path(tempfile.mkdtemp(prefix="quantlib-worker-"))
        words = {PREFIX + name.upper(): str(value) for name, value in asdict(limits).items()}
        program = subprocess.Popen(
            [sys.executable, "-m", "quantlib.workers.child", str(folder)],
            env={**environment(), **words},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert program.stdin is not None and program.stdout is not None
        self._programs[program.pid] = program
        return Born(program.stdout, program.stdin, program.pid, folder)

    def end(self, born: Born) -> int:
        """Kill a worker with all it started."""
        program = self._programs.pop(born.pid)
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(born.pid, signal.SIGKILL)
        program.kill()
        code = program.wait()
        born.close()
        shutil.rmtree(born.folder, ignore_errors=True)
        return max(0, -code)

    def close(self) -> None:
        """End all workers."""
        for program in self._programs.values():
            program.kill()
            program.wait()
