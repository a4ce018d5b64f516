"""A line in which threads and coroutines wait their turn, first come, first served."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable


class Turn:
    """The place of one who waits."""

    __slots__ = ("share", "wake")

    def __init__(self) -> None:
        self.share: float | None = None
        """What this one was let in with by the one at the head; None where it is the head itself."""
        self.wake: Callable[[], bool] = bool
        """Tell the one who waits; False where nobody is there any more."""


class Line:
    """One at a time is at its head, and says who goes on: itself, and with ``admit`` those right behind it.

    If each waited for the one before to wake up and leave, a line would move no faster than a busy machine
    wakes threads one after the other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[Turn] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits behind the head."""
        return not self._waiting

    def enter(self, turn: Turn) -> None:
        """Wait, as a thread, for the head of the line or to be admitted."""
        gate = threading.Lock()
        gate.acquire()

        def wake() -> bool:
            gate.release()
            return True

        turn.wake = wake
        if self._join(turn):
            return
        try:
            gate.acquire()
        except BaseException:
            self._give_up(turn)
            raise

    async def enter_async(self, turn: Turn) -> None:
        """Wait, as a coroutine, for the head of the line or to be admitted."""
        loop = asyncio.get_running_loop()
        woken = loop.create_future()

        def tell() -> None:
            if not woken.done():
                woken.set_result(None)

        def wake() -> bool:
            try:
                loop.call_soon_threadsafe(tell)
            except RuntimeError:
                # The loop was closed under its coroutine.
                return False
            return True

        turn.wake = wake
        if self._join(turn):
            return
        try:
            await woken
        except BaseException:
            self._give_up(turn)
            raise

    def admit(self, share: float) -> bool:
        """Let the next one go on with a share; False where nobody waits. For the one at the head."""
        while True:
            with self._lock:
                if not self._waiting:
                    return False
                turn = self._waiting.popleft()
                turn.share = share
            if turn.wake():
                return True

    def leave(self) -> None:
        """Let the next one be the head."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._taken = False
                    return
                turn = self._waiting.popleft()
            if turn.wake():
                return

    def _join(self, turn: Turn) -> bool:
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            self._waiting.append(turn)
            return False

    def _give_up(self, turn: Turn) -> None:
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        # The turn came at the same moment.
        if turn.share is None:
            self.leave()
