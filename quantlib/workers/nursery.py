"""The warm parent of workers: a program that has imported everything and opened nothing.

It takes orders on the socket whose descriptor is its first argument, one JSON line each, answered
by one; the second argument is the folder of all workers' folders, which is removed at the end:
``{"do": "fork", "folder", "limits"}`` with the worker's socket beside it gives ``{"pid"}``, or
``{"error"}`` where the system has no room for another process;
``{"do": "end", "pid"}`` kills the worker with all it started and gives ``{"status"}``. When the
socket ends, so do all workers, and then it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from quantlib.workers import child
from quantlib.workers.limits import Limits

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def main() -> None:
    """Serve the socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this decides when it ends
    gc.collect()
    gc.freeze()  # what is there now is never looked at again, and stays shared with the workers
    try:
        Nursery(control).serve()
    finally:
        shutil.rmtree(sys.argv[2], ignore_errors=True)


class Nursery:
    """The workers that were forked from this process."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._folders: dict[int, str] = {}

    def serve(self) -> None:
        """Carry orders out until there is nobody to give any."""
        try:
            control_answer(self._control, {"ready": True})
            while True:
                line, descriptors, _, _ = socket.recv_fds(self._control, 65536, 1)
                if not line:
                    break
                order = json.loads(line)
                if order["do"] == "fork":
                    answer = self._fork(order, descriptors)
                else:
                    answer = {"status": self._end(order["pid"])}
                control_answer(self._control, answer)
        except OSError:
            pass
        finally:
            for pid in list(self._folders):
                self._end(pid)

    def _fork(self, order: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """Fork a worker; what keeps it from that is no reason to end those that there are."""
        folder = order["folder"]
        if not descriptors:
            return {"error": "too many open files"}
        [descriptor] = descriptors
        try:
            pid = os.fork()
        except OSError as error:
            os.close(descriptor)
            return {"error": str(error)}
        if pid:
            os.close(descriptor)
            self._folders[pid] = folder
            return {"pid": pid}
        code = 1
        try:
            os.setsid()
            die_with_parent()
            self._control.close()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            with socket.socket(fileno=descriptor) as connection:
                reader, writer = connection.makefile("rb"), connection.makefile("wb")
                child.run(reader, writer, Path(folder), Limits(**order["limits"]))
            code = 0
        finally:
            os._exit(code)

    def _end(self, pid: int) -> int:
        """Kill a worker and what it started; return how it ended, as `os.waitpid` says it."""
        folder = self._folders.pop(pid, None)
        if folder is None:
            return 0
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # it may not have a group of its own yet
        _, status = os.waitpid(pid, 0)  # of one that had ended before: how it ended
        shutil.rmtree(folder, ignore_errors=True)
        return status


def die_with_parent() -> None:
    """Let the system end this process with its parent, where it can."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def control_answer(control: socket.socket, answer: dict[str, Any]) -> None:
    """Send one JSON line."""
    control.sendall(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
