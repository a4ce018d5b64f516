"""The policy of a batcher on an asyncio event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from vedette.batching.policy import Batch, BatchPolicy, Place
from vedette.batching.processing import Processing
from vedette.batching.statistics import Tally
from vedette.errors import ClosedError, DeadlineError, QueueFullError
from vedette.metrics import Family, registry
from vedette.runtime.pool import Runtime


class ItemFuture(Place, asyncio.Future[Any]):
    """The result of an item, and its place in the policy, in one object: there is one for every item."""

    def __init__(self, driver: LoopDriver) -> None:
        super().__init__(loop=driver.loop)
        self.driver = driver

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel; an item that waits is dropped at once and makes room."""
        if not super().cancel(msg):
            return False
        self.driver.cancelled(self)
        return True


class LoopDriver:
    """Steps the policy when items come, batches end, and at the times it names, all on one event loop."""

    def __init__(
        self,
        policy: BatchPolicy,
        processing: Processing,
        *,
        is_async: bool,
        inline: bool,
        name: str,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.policy = policy
        self.tally = Tally()
        self._processing = processing
        self._is_async = is_async
        self._runtime = None if is_async or inline else Runtime(policy.config.max_concurrency, name=name)
        self._group_by: Callable[[Any], Hashable] | None = policy.config.group_by
        self._step_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._drained: asyncio.Future[None] | None = None
        # Threads take batches from the policy too; collecting garbage may cancel futures anywhere.
        self._lock = threading.RLock()
        self._working = 0
        """Threads whose last results have not been delivered."""
        self._closed = False
        self._name = name
        registry().track(self)

    def submit(self, item: Any, priority: int, timeout_s: float | None) -> ItemFuture:
        """Take an item in, or raise."""
        if self._closed:
            raise ClosedError("the batcher has been shut down; make a new one")
        group = None if self._group_by is None else self._group_by(item)
        hash(group)
        now = self.loop.time()
        future = ItemFuture(self)
        future.hold(item, group, priority, None if timeout_s is None else now + timeout_s)
        with self._lock:
            taken = self.policy.submit(now, future)
        if not taken:
            raise QueueFullError(f"{self.policy.queued} items wait already (max_queue_size); try again later")
        self._step_soon()
        return future

    def cancelled(self, future: ItemFuture) -> None:
        """An item was cancelled."""
        with self._lock:
            dropped = self.policy.cancel(future)
        if dropped:
            future.item = None
            # It may have been what a batcher that shuts down was waiting for.
            self._step_soon()

    def metrics(self) -> Iterator[Family]:
        """What the batcher has done, as metrics; from any thread."""
        return self.tally.metrics(self._name, self.policy)

    async def close(self, *, drain: bool) -> None:
        """Run what waits, or refuse it; then end."""
        self._closed = self.policy.draining = True
        if not drain:
            self._refuse_all()
        self._step_soon()
        try:
            while self._is_busy():
                self._drained = self.loop.create_future()
                await self._drained
        except BaseException:
            self._refuse_all()
            for task in list(self._tasks):
                task.cancel()
            raise
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._runtime is not None:
                self._runtime.shutdown(wait=False)

    def _is_busy(self) -> bool:
        return bool(self.policy.queued or self.policy.running or self._working)

    def _refuse_all(self) -> None:
        with self._lock:
            refused = self.policy.refuse_all()
        for future in refused:
            _fail(future, ClosedError("the batcher was shut down before the item ran"))

    def _step_soon(self) -> None:
        # All items of one turn of the loop are seen together, so a burst is one batch.
        if not self._step_is_due:
            self._step_is_due = True
            self.loop.call_soon(self._step)

    def _step(self) -> None:
        self._step_is_due = False
        now = self.loop.time()
        with self._lock:
            expired, batches = self._due(now)
            wakeup = self.policy.wakeup() if self.policy.queued else None
        self._expire(expired, now)
        for batch in batches:
            self._start(batch)
        if self._drained is not None and not self._drained.done() and not self._is_busy():
            self._drained.set_result(None)
        self._set_timer(wakeup)

    def _due(self, now: float, *, grown: bool = False) -> tuple[list[ItemFuture], list[Batch]]:
        """What is too late and what is to run; under the lock."""
        expired = self.policy.expire(now)
        batches = []
        while (batch := self.policy.next_batch(now, grown=grown)) is not None:
            self.tally.started(batch, now)
            batches.append(batch)
            if grown:
                break
        return expired, batches

    def _expire(self, expired: list[ItemFuture], now: float) -> None:
        for future in expired:
            waited = now - future.arrived
            _fail(future, DeadlineError(f"the item waited {waited * 1e3:.1f} ms, until its deadline"))

    def _set_timer(self, wakeup: float | None) -> None:
        timer = self._timer
        if timer is not None:
            # One that rings too early costs less than making it anew with every item, but none rings in vain
            # once nothing waits.
            if wakeup is not None and timer.when() <= wakeup:
                return
            timer.cancel()
            self._timer = None
        if wakeup is not None:
            self._timer = self.loop.call_at(wakeup, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if not self._step_is_due:
            self._step()

    def _start(self, batch: Batch) -> None:
        entries: list[ItemFuture] = batch.entries
        if self._is_async:
            task = self.loop.create_task(self._run_async(entries))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif self._runtime is None:
            outcomes, took_s = self._processing.run(*_taken(entries))
            self._note_end(entries, took_s)
            self._deliver(entries, outcomes)
        else:
            self._working += 1
            self._runtime.submit(self._run_on_thread, entries)

    def _run_on_thread(self, entries: list[ItemFuture]) -> None:
        """Run a batch, and as long as others wait that can grow no further, those.

        To have the event loop start them would leave this thread idle for as long as two threads take to wake
        up, and to the end of whatever the loop is at.
        """
        while True:
            outcomes, took_s = self._processing.run(*_taken(entries))
            now = self.loop.time()
            with self._lock:
                self._note_end(entries, took_s)
                expired, following = self._due(now, grown=True)
            try:
                self.loop.call_soon_threadsafe(
                    self._delivered, entries, outcomes, expired, now, not following
                )
            except RuntimeError:
                # The loop was closed under its futures; nobody is left to be told.
                return
            if not following:
                return
            entries = following[0].entries
            # Nothing of the last batch is kept alive by this one.
            del outcomes, expired

    async def _run_async(self, entries: list[ItemFuture]) -> None:
        outcomes, took_s = await self._processing.run_async(*_taken(entries))
        self._note_end(entries, took_s)
        self._deliver(entries, outcomes)

    def _note_end(self, entries: list[ItemFuture], took_s: float) -> None:
        self.policy.finished(len(entries), took_s)
        self.tally.processed_s += took_s

    def _delivered(
        self,
        entries: list[ItemFuture],
        outcomes: list[Any],
        expired: list[ItemFuture],
        now: float,
        is_last: bool,
    ) -> None:
        self._working -= is_last
        self._expire(expired, now)
        self._deliver(entries, outcomes)

    def _deliver(self, entries: list[ItemFuture], outcomes: list[Any]) -> None:
        tally = self.tally
        now = self.loop.time()
        for future, outcome in zip(entries, outcomes, strict=True):
            if future.done():
                continue
            tally.latency_s.observe(now - future.arrived)
            if isinstance(outcome, BaseException):
                tally.failed += 1
                future.set_exception(outcome)
            else:
                tally.completed += 1
                future.set_result(outcome)
        self._step_soon()


def _taken(entries: list[ItemFuture]) -> tuple[list[Any], Callable[[int], bool]]:
    """The items of a batch, which their futures no longer keep, and whether one is not wanted any more."""
    items = [future.item for future in entries]
    for future in entries:
        future.item = None
    return items, lambda index: bool(entries[index].cancelled())


def _fail(future: ItemFuture, error: Exception) -> None:
    future.item = None
    if not future.done():
        future.set_exception(error)
