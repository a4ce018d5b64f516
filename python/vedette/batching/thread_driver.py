"""The policy of a batcher on threads of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from vedette.batching.policy import Batch, BatchPolicy, Place
from vedette.batching.processing import Processing
from vedette.batching.statistics import BatcherStats, Tally
from vedette.errors import ClosedError, DeadlineError, QueueFullError
from vedette.metrics import Family, registry

T = TypeVar("T")
R = TypeVar("R")


class _ItemFuture(Place, Future[Any]):
    """The result of an item, and its place in the policy."""

    def __init__(self, batcher: ThreadBatcher[Any, Any]) -> None:
        super().__init__()
        self.batcher = batcher

    def cancel(self) -> bool:
        """Cancel unless the item runs; it is dropped at once and makes room."""
        if not super().cancel():
            return False
        self.batcher._cancelled(self)
        return True


class ThreadBatcher(Generic[T, R]):
    """A running batcher for threads; what ``with DynamicBatcher(...)`` gives.

    One thread more than batches may run at once: the one that runs none keeps the deadlines.
    """

    def __init__(self, policy: BatchPolicy, processing: Processing, *, name: str = "batcher") -> None:
        self._policy = policy
        self._processing = processing
        self._tally = Tally()
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(policy.config.max_concurrency + 1)
        ]
        for thread in self._threads:
            thread.start()
        self._name = name
        registry().track(self)

    def submit(self, item: T, *, priority: int = 0, timeout_ms: float | None = None) -> Future[R]:
        """Queue an item, from any thread; with the parameters and errors of ``DynamicBatcher.submit``."""
        group_by = self._policy.config.group_by
        group = None if group_by is None else group_by(item)
        hash(group)
        now = time.monotonic()
        deadline = None if timeout_ms is None else now + timeout_ms / 1e3
        future = _ItemFuture(self)
        future.hold(item, group, priority, deadline)
        with self._changed:
            if self._policy.draining:
                raise ClosedError("the batcher has been shut down; make a new one")
            if not self._policy.submit(now, future):
                raise QueueFullError(
                    f"{self._policy.queued} items wait already (max_queue_size); try again later"
                )
            self._changed.notify()
        return future

    def close(self, *, drain: bool = True) -> None:
        """Run what waits, or refuse it where ``drain`` is false; then end the threads."""
        with self._changed:
            self._policy.draining = True
            refused = [] if drain else self._policy.refuse_all()
            self._changed.notify_all()
        for future in refused:
            _fail(future, ClosedError("the batcher was shut down before the item ran"))
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def stats(self) -> BatcherStats:
        """What the batcher has done, and what waits."""
        with self._changed:
            return self._tally.stats(self._policy)

    def metrics(self) -> Iterator[Family]:
        """The same as metrics."""
        with self._changed:
            return iter(list(self._tally.metrics(self._name, self._policy)))

    def _cancelled(self, future: _ItemFuture) -> None:
        with self._changed:
            dropped = self._policy.cancel(future)
            if dropped:
                future.item = None
                self._changed.notify_all()
        if dropped:
            # Nobody will run it, so nobody else tells those who wait for several futures.
            future.set_running_or_notify_cancel()

    def _work(self) -> None:
        policy = self._policy
        while True:
            with self._changed:
                while True:
                    now = time.monotonic()
                    expired = policy.expire(now)
                    batch = policy.next_batch(now)
                    if batch is not None:
                        self._tally.started(batch, now)
                    if expired or batch is not None:
                        # Another thread takes over the deadlines, and what else may run.
                        self._changed.notify()
                        break
                    if policy.draining and not policy.queued and not policy.running:
                        self._changed.notify_all()
                        return
                    wakeup = policy.wakeup() if policy.queued else None
                    self._changed.wait(None if wakeup is None else max(0.0, wakeup - now))
            for future in expired:
                waited = now - future.arrived
                _fail(future, DeadlineError(f"the item waited {waited * 1e3:.1f} ms, until its deadline"))
            if batch is not None:
                self._run(batch)
            # Nothing of the batch is kept alive while this thread waits.
            del expired, batch

    def _run(self, batch: Batch) -> None:
        started = [future.set_running_or_notify_cancel() for future in batch.entries]
        items = [future.item for future in batch.entries]
        for future in batch.entries:
            future.item = None
        outcomes, took_s = self._processing.run(items, lambda index: not started[index])
        failed = sum(isinstance(outcome, BaseException) for outcome in outcomes)
        with self._changed:
            self._policy.finished(len(batch.entries), took_s)
            self._tally.processed_s += took_s
            self._tally.failed += failed
            self._tally.completed += sum(started) - failed
            now = time.monotonic()
            for future in batch.entries:
                self._tally.latency_s.observe(now - future.arrived)
            self._changed.notify()
        # Callbacks of these futures run here, so no lock is held.
        for future, was_started, outcome in zip(batch.entries, started, outcomes, strict=True):
            if not was_started:
                continue
            if isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


def _fail(future: _ItemFuture, error: Exception) -> None:
    future.item = None
    if future.set_running_or_notify_cancel():
        future.set_exception(error)
