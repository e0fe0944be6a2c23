"""What all sessions of a process share: the parent of workers, the slots, and who tidies up."""

from __future__ import annotations

import atexit
import queue
import threading
import time
from typing import TYPE_CHECKING

from quantlib.workers.client import Client
from quantlib.workers.limits import Limits
from quantlib.workers.parents import best_parent
from quantlib.workers.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantlib.workers.parents import Parent

TIDY_S = 0.5
"""How often is looked for workers to end."""


class Crew:
    """The workers of one session; knows nothing of the session, so that this can end first."""

    def __init__(self, wanted: Callable[[], bool] = lambda: True) -> None:
        self.wanted = wanted
        self._lock = threading.Lock()
        self.front: Client | None = None
        self._busy: list[Client] = []
        self._spare: list[Client] = []
        self._retired: list[Client] = []

    def spare(self) -> Client | None:
        """Take a worker of the background that has nothing to do."""
        with self._lock:
            while self._spare:
                client = self._spare.pop()
                if not client.gone:
                    return client
        return None

    def busy(self, client: Client) -> None:
        """Note that a worker has something to do in the background."""
        with self._lock:
            self._busy.append(client)

    def free(self, client: Client) -> None:
        """Note that a worker has nothing to do any more."""
        with self._lock:
            if client in self._busy:
                self._busy.remove(client)
            if not client.gone:
                self._spare.append(client)

    def promote(self, client: Client) -> None:
        """Let a worker of the background be the first, and the first wait in its place."""
        with self._lock:
            if client not in self._spare or client.gone:
                return
            self._spare.remove(client)
            if self.front is not None:
                self._spare.append(self.front)
            self.front = client

    def retire(self, client: Client) -> None:
        """Let a worker end soon."""
        with self._lock:
            self._retired.append(client)

    def all(self) -> list[Client]:
        """Return all workers."""
        with self._lock:
            front = [self.front] if self.front is not None else []
            return [*front, *self._busy, *self._spare, *self._retired]

    def idle(self) -> list[Client]:
        """Return the workers that nobody waits for."""
        return [client for client in self.all() if not client.lock.locked() and not client.gone]

    def tidy(self) -> None:
        """End what is retired once it has answered, forget what is gone."""
        with self._lock:
            for client in list(self._retired):
                if client.lock.acquire(blocking=False):
                    try:
                        client.end()
                    finally:
                        client.lock.release()
                    self._retired.remove(client)
            self._spare = [client for client in self._spare if not client.gone]
            if self.front is not None and self.front.gone:
                self.front = None

    @property
    def pids(self) -> tuple[int, ...]:
        """Process numbers of the workers that there are."""
        return tuple(client.pid for client in self.all() if not client.gone)


class Desk:
    """Makes workers for sessions, and ends those that nobody needs.

    Parameters
    ----------
    parent : Parent, optional
        Who forks.
    limits : Limits, optional
        What each worker may take; by default what the environment sets.
    """

    _here: Desk | None = None
    _lock = threading.Lock()

    def __init__(self, parent: Parent | None = None, limits: Limits | None = None) -> None:
        self.limits = limits or Limits.from_environment()
        self.parent = parent or best_parent()
        self.slots = Slots(self.limits.slots)
        self._crews: list[Crew] = []
        self._crews_lock = threading.Lock()
        self._dismissed: queue.SimpleQueue[Crew | None] = queue.SimpleQueue()
        self._tidier = threading.Thread(target=self._tidy, daemon=True, name="workers' tidier")
        self._tidier.start()
        atexit.register(self.close)

    @classmethod
    def here(cls) -> Desk:
        """Return the desk of this process."""
        with cls._lock:
            if cls._here is None:
                cls._here = Desk()
            return cls._here

    def warm(self) -> None:
        """Start the parent of workers meanwhile, so that the first question need not wait."""
        threading.Thread(target=self.parent.warm, daemon=True).start()

    def client(self) -> Client:
        """Start a worker."""
        return Client(self.parent, self.limits, self.slots)

    def enlist(self, crew: Crew) -> None:
        """Look after a session's workers from now on."""
        with self._crews_lock:
            self._crews.append(crew)

    def dismiss(self, crew: Crew) -> None:
        """End a session's workers soon; may be called from anywhere, a finalizer too."""
        self._dismissed.put(crew)

    def close(self) -> None:
        """End everything."""
        self._dismissed.put(None)
        self._tidier.join(timeout=5)
        self.parent.close()

    def _tidy(self) -> None:
        while True:
            try:
                crew = self._dismissed.get(timeout=TIDY_S)
            except queue.Empty:
                self._look_around()
                continue
            if crew is None:
                return
            with self._crews_lock:
                if crew in self._crews:
                    self._crews.remove(crew)
            for client in crew.all():
                client.end()

    def _look_around(self) -> None:
        """End workers that idle too long or are too many; let background work take turns."""
        self.slots.take_turns()
        with self._crews_lock:
            crews = list(self._crews)
        for crew in crews:
            crew.tidy()
            if crew.pids and not crew.wanted():
                for client in crew.all():
                    client.end()
        idle = sorted((c for crew in crews for c in crew.idle()), key=lambda c: c.used_at)
        alive = sum(len(crew.pids) for crew in crews)
        now = time.monotonic()
        for client in idle:
            wanted = alive <= self.limits.alive
            if wanted and now - client.used_at <= self.limits.idle_seconds:
                continue
            if client.lock.acquire(blocking=False):
                try:
                    client.end()
                finally:
                    client.lock.release()
                alive -= 1
