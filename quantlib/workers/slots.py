"""Fair shares: as many questions at once as there are processors, people before long work.

A question that somebody waits for (`Urgency.NOW`) goes before work in the background
(`Urgency.LATER`); where all slots are taken by the latter, one of them is paused until a slot is
free again. Work in the background takes turns: after `SLICE_S` it makes room for what waits.
"""

from __future__ import annotations

import enum
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SLICE_S = 1.0
"""How long work in the background keeps its slot while other such work waits, s."""


class Urgency(enum.Enum):
    """Whether somebody waits for an answer."""

    NOW = "now"
    LATER = "later"


class Ticket:
    """One question's right to a slot.

    Parameters
    ----------
    urgency : Urgency
        Whether somebody waits.
    pause, resume : callable
        Stop and continue the work without its knowledge; `pause` returns whether it can.
    """

    def __init__(
        self, urgency: Urgency, pause: Callable[[], bool], resume: Callable[[], None]
    ) -> None:
        self.urgency = urgency
        self.pause, self.resume = pause, resume
        self.granted = threading.Event()
        self._ran_s = 0.0
        self._since: float | None = None
        self.was_paused = False

    @property
    def ran_s(self) -> float:
        """Seconds in which the work had a slot."""
        return self._ran_s + (time.monotonic() - self._since if self._since is not None else 0.0)

    @property
    def slice_s(self) -> float:
        """Seconds since it was given its slot."""
        return time.monotonic() - self._since if self._since is not None else 0.0

    def start(self) -> None:
        """Count from now."""
        self._since = time.monotonic()
        if self.was_paused:
            self.was_paused = False
            self.resume()
        self.granted.set()

    def stop(self) -> None:
        """Stop counting."""
        if self._since is not None:
            self._ran_s += time.monotonic() - self._since
            self._since = None


class Slots:
    """Who computes, and who waits in which order.

    Parameters
    ----------
    count : int
        Questions at once.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._lock = threading.Lock()
        self._holders: list[Ticket] = []
        self._waiting: dict[Urgency, deque[Ticket]] = {kind: deque() for kind in Urgency}

    def enter(self, ticket: Ticket) -> None:
        """Stand in line; `ticket.granted` is set when it is its turn."""
        with self._lock:
            self._waiting[ticket.urgency].append(ticket)
            self._deal()

    def leave(self, ticket: Ticket) -> None:
        """Give a slot back, or leave the line; what was paused is continued, to end."""
        with self._lock:
            ticket.stop()
            for line in (self._holders, *self._waiting.values()):
                if ticket in line:
                    line.remove(ticket)
            if ticket.was_paused:
                ticket.was_paused = False
                ticket.resume()
            self._deal()

    def place(self, ticket: Ticket) -> int:
        """Return how many stand before a ticket, itself included; 0 if it has its slot."""
        with self._lock:
            now, later = (list(self._waiting[kind]) for kind in (Urgency.NOW, Urgency.LATER))
        line = now if ticket.urgency is Urgency.NOW else now + later
        return line.index(ticket) + 1 if ticket in line else 0

    def take_turns(self) -> None:
        """Let work in the background that waits have the slot of such that has had its time."""
        with self._lock:
            if not self._waiting[Urgency.LATER]:
                return
            for holder in list(self._holders):
                if holder.urgency is Urgency.LATER and holder.slice_s > SLICE_S:
                    self._put_aside(holder)
            self._deal()

    def _deal(self) -> None:
        """Give free slots away; make room for whom somebody waits for. Holds the lock."""
        while len(self._holders) < self.count:
            line = self._waiting[Urgency.NOW] or self._waiting[Urgency.LATER]
            if not line:
                return
            self._give(line.popleft())
        for ticket in list(self._waiting[Urgency.NOW]):
            pausable = [h for h in self._holders if h.urgency is Urgency.LATER]
            longest = sorted(pausable, key=lambda h: -h.slice_s)
            if not any(self._put_aside(holder) for holder in longest):
                return
            self._waiting[Urgency.NOW].remove(ticket)
            self._give(ticket)

    def _give(self, ticket: Ticket) -> None:
        self._holders.append(ticket)
        ticket.start()

    def _put_aside(self, holder: Ticket) -> bool:
        """Pause a holder and let it stand in line again; return whether it could be paused."""
        if not holder.pause():
            return False
        holder.stop()
        holder.was_paused = True
        self._holders.remove(holder)
        self._waiting[holder.urgency].append(holder)
        return True
