"""One function over many items, a few items at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, TypeVar, cast

from vedette.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

# A chunk this long costs a thousandth in locks and is soon enough over for the last worker to be waited for.
_ENOUGH_S = 0.001


class Chunks(Generic[T, R]):
    """What workers take items from and put results into. Any number of threads may ``work`` on it."""

    def __init__(
        self, function: Callable[[T], R], items: Iterable[T], workers: int, chunk_size: int | None = None
    ) -> None:
        if chunk_size is not None and chunk_size < 1:
            raise InputError(f"chunk_size must be at least 1, got {chunk_size}")
        self._function = function
        self._items: Sequence[T] = items if isinstance(items, (list, tuple)) else list(items)
        self._chunk_size = chunk_size
        self._workers = workers
        self.total = len(self._items)
        self._results: list[Any] = [None] * self.total
        self._next = 0
        self._done = 0
        self._taken = 0
        """Chunks that some worker is at."""
        self._error: tuple[int, BaseException] | None = None
        self._stopped = False
        self._helpers = 0
        """Tasks that work on this, or may begin to."""
        self._reports = False
        self._changed = threading.Condition()

    def expect(self, helpers: Sequence[Future[Any]]) -> None:
        """Take note of tasks that ``work`` here; whoever cancels them all ends the wait for the results."""
        self._helpers = len(helpers)
        for helper in helpers:
            helper.add_done_callback(self._helper_ended)

    def work(self) -> None:
        """Take chunks until none is left."""
        size = self._chunk_size or 1
        results, items, function = self._results, self._items, self._function
        while (start := self._take(size)) is not None:
            end = min(start + size, self.total)
            began = time.perf_counter()
            try:
                results[start:end] = [function(item) for item in items[start:end]]
            except BaseException as error:
                self._failed(start, error)
                return
            took = time.perf_counter() - began
            self._finished(end - start)
            if self._chunk_size is None:
                if took < _ENOUGH_S / 2:
                    # What is left is shared out so that all workers end at about the same time.
                    fair = (self.total - self._next) // (4 * self._workers)
                    size = max(1, min(2 * size, fair))
                elif took > 2 * _ENOUGH_S:
                    size = max(1, size // 2)

    def wait(self, progress: Callable[[int, int], object] | None = None) -> list[R]:
        """Wait for all items; the results, or the failure of the earliest chunk that failed."""
        told, over = -1, False
        self._reports = progress is not None
        while not over:
            with self._changed:
                while not self._over and (progress is None or self._done <= told):
                    self._changed.wait()
                told, over = self._done, self._over
            if progress is not None and self._error is None:
                progress(told, self.total)
        if self._error is not None:
            try:
                raise self._error[1]
            finally:
                # The error's traceback refers to this frame, which refers to the error.
                self._error = None
        if self._done < self.total:
            raise CancelledError
        return cast("list[R]", self._results)

    def stop(self) -> None:
        """Let workers end after the chunk they are at."""
        self._stopped = True

    @property
    def _over(self) -> bool:
        return self._taken == 0 and (
            self._done == self.total or self._error is not None or self._helpers == 0
        )

    def _take(self, size: int) -> int | None:
        with self._changed:
            start = self._next
            if self._stopped or self._error is not None or start >= self.total:
                return None
            self._next = start + size
            self._taken += 1
            return start

    def _finished(self, count: int) -> None:
        with self._changed:
            self._taken -= 1
            self._done += count
            if self._reports or self._over:
                self._changed.notify_all()

    def _helper_ended(self, _helper: Future[Any]) -> None:
        with self._changed:
            self._helpers -= 1
            if self._over:
                self._changed.notify_all()

    def _failed(self, start: int, error: BaseException) -> None:
        with self._changed:
            self._taken -= 1
            if self._error is None or start < self._error[0]:
                self._error = (start, error)
            self._changed.notify_all()
