"""A line in which threads and coroutines wait their turn, first come, first served."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable


class Line:
    """At most one is at its head; ``leave`` hands that to the one who has waited longest."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[Callable[[], None]] = deque()

    def enter(self) -> None:
        """Wait, as a thread, for the head of the line."""
        turn = threading.Lock()
        turn.acquire()
        if self._join(turn.release):
            return
        try:
            turn.acquire()
        except BaseException:
            self._give_up(turn.release)
            raise

    async def enter_async(self) -> None:
        """Wait, as a coroutine, for the head of the line."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()

        def tell() -> None:
            if not turn.done():
                turn.set_result(None)

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(tell)
            except RuntimeError:
                # The loop was closed under its coroutine: its turn is the next one's.
                self.leave()

        if self._join(wake):
            return
        try:
            await turn
        except BaseException:
            self._give_up(wake)
            raise

    def leave(self) -> None:
        """Let the next one in."""
        with self._lock:
            if not self._waiting:
                self._taken = False
                return
            wake = self._waiting.popleft()
        wake()

    def _join(self, wake: Callable[[], None]) -> bool:
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            self._waiting.append(wake)
            return False

    def _give_up(self, wake: Callable[[], None]) -> None:
        with self._lock:
            if wake in self._waiting:
                self._waiting.remove(wake)
                return
        # The turn came at the same moment.
        self.leave()
