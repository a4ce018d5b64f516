"""The bounded queue between two stages."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vedette.pipeline.run import Run


@dataclass(slots=True, eq=False)
class Ticket:
    """An item on its way, and whom it belongs to."""

    run: Run
    index: int
    value: Any


class Channel:
    """Tickets in the order in which they came. Many threads may put and get."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._tickets: deque[Ticket] = deque()
        # A forgotten pipeline is closed by whichever thread collects it, maybe one that is in here.
        self._lock = threading.RLock()
        self._filled = threading.Condition(self._lock)
        self._emptied = threading.Condition(self._lock)
        self._closed = False

    def __len__(self) -> int:
        return len(self._tickets)

    def put(self, ticket: Ticket) -> bool:
        """Wait for room; False where the channel was closed instead."""
        with self._lock:
            while len(self._tickets) >= self._capacity and not self._closed:
                self._emptied.wait()
            if self._closed:
                return False
            self._tickets.append(ticket)
            self._filled.notify()
            return True

    def replace(self, ticket: Ticket) -> list[Ticket]:
        """Put a ticket in place of those of its run that wait, which are returned. It never waits."""
        with self._lock:
            if self._closed:
                return [ticket]
            older = [waiting for waiting in self._tickets if waiting.run is ticket.run]
            for waiting in older:
                self._tickets.remove(waiting)
            self._tickets.append(ticket)
            self._filled.notify()
            return older

    def get(self) -> Ticket | None:
        """Wait for a ticket; None where the channel is closed and empty."""
        with self._lock:
            while not self._tickets and not self._closed:
                self._filled.wait()
            if not self._tickets:
                return None
            ticket = self._tickets.popleft()
            self._emptied.notify()
            return ticket

    def close(self) -> None:
        """Take no more; what waits may still be taken out."""
        with self._lock:
            self._closed = True
            self._filled.notify_all()
            self._emptied.notify_all()
