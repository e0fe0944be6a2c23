"""What a worker may take: memory, time, disk. The one place where that is set."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

PREFIX = "QUANTLIB_WORKER_"
"""Environment variables are called so, with a member's name in capitals behind it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker may take.

    Parameters
    ----------
    memory_mb : int
        Memory beyond what the library itself takes, MiB.
    seconds : float
        Longest computation of one question, of a model's loading too, s. Time in which the worker
        had to wait for its turn does not count.
    silence_seconds : float
        Longest time between two values of a growing answer, s.
    disk_mb : int
        Most that temporary files take together, MiB.
    idle_seconds : float
        A worker that nobody asks for so long ends, s; it is made again when it is asked.
    at_once : int
        Questions that are computed at a time in all workers together; 0: one per processor.
    alive : int
        Most workers that wait for questions; those asked longest ago end first.
    """

    memory_mb: int = 3072
    seconds: float = 120.0
    silence_seconds: float = 600.0
    disk_mb: int = 2048
    idle_seconds: float = 300.0
    at_once: int = 0
    alive: int = 64

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Limits:
        """Return the limits that environment variables set, as in ``QUANTLIB_WORKER_MEMORY_MB``.

        Raises
        ------
        OptionsError
            One of them is no positive number.
        """
        found: dict[str, Any] = {}
        for field in fields(cls):
            name = PREFIX + field.name.upper()
            if words := environment.get(name, "").strip():
                kind: Callable[[str], float] = float if "seconds" in field.name else int
                try:
                    found[field.name] = kind(words)
                except ValueError:
                    raise OptionsError(f"{name} is {words!r}; give a number.") from None
                if found[field.name] < 0 or (not found[field.name] and field.name != "at_once"):
                    raise OptionsError(f"{name} is {words}; give a number above 0.")
        return cls(**found)

    @property
    def slots(self) -> int:
        """How many questions are computed at a time."""
        return self.at_once or processors()


def processors() -> int:
    """Return how many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def impose(limits: Limits) -> None:
    """Limit this process for good, as far as the system can: memory, file sizes, no core file."""
    try:
        import resource
    except ImportError:  # the asker watches alone
        return
    memory, disk = limits.memory_mb * 2**20, limits.disk_mb * 2**20
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, disk)
    if sys.platform == "linux":
        _lower(resource.RLIMIT_AS, _address_space() + memory + memory // 4)


def allow_seconds(seconds: float) -> None:
    """Let the system end this process after so many more seconds of computation.

    A second line behind the asker, who watches and might be stopped itself.
    """
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime + 2 * seconds) + 2
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


def resident_bytes(pid: int) -> int:
    """Return how much memory a process holds by itself; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123
            _, resident, shared = file.read().split()[:3]
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def _address_space() -> int:
    """Return how much address space this process has taken, bytes."""
    import resource

    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123
        return int(file.read().split()[0]) * resource.getpagesize()


def _lower(what: int, value: int) -> None:
    import resource

    hard = resource.getrlimit(what)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))
