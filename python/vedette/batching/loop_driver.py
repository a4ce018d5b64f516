"""The policy of a batcher on an asyncio event loop."""

from __future__ import annotations

import asyncio
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
        if not self.policy.submit(now, future):
            raise QueueFullError(f"{self.policy.queued} items wait already (max_queue_size); try again later")
        self._step_soon()
        return future

    def cancelled(self, future: ItemFuture) -> None:
        """An item was cancelled."""
        if self.policy.cancel(future):
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
            while self.policy.queued or self.policy.running:
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

    def _refuse_all(self) -> None:
        for future in self.policy.refuse_all():
            _fail(future, ClosedError("the batcher was shut down before the item ran"))

    def _step_soon(self) -> None:
        # All items of one turn of the loop are seen together, so a burst is one batch.
        if not self._step_is_due:
            self._step_is_due = True
            self.loop.call_soon(self._step)

    def _step(self) -> None:
        self._step_is_due = False
        policy = self.policy
        now = self.loop.time()
        for future in policy.expire(now):
            waited = now - future.arrived
            _fail(future, DeadlineError(f"the item waited {waited * 1e3:.1f} ms, until its deadline"))
        while (batch := policy.next_batch(now)) is not None:
            self._start(batch, now)
        if self._drained is not None and not self._drained.done() and not (policy.queued or policy.running):
            self._drained.set_result(None)
        self._set_timer(policy.wakeup() if policy.queued else None)

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

    def _start(self, batch: Batch, now: float) -> None:
        self.tally.started(batch, now)
        entries = batch.entries
        items = [future.item for future in entries]
        for future in entries:
            future.item = None

        def gone(index: int) -> bool:
            return bool(entries[index].cancelled())

        if self._is_async:
            task = self.loop.create_task(self._run_async(entries, items, gone))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif self._runtime is None:
            self._finished(entries, *self._processing.run(items, gone))
        else:
            self._runtime.submit(self._run_on_thread, entries, items, gone)

    def _run_on_thread(
        self, entries: list[ItemFuture], items: list[Any], gone: Callable[[int], bool]
    ) -> None:
        outcomes, took_s = self._processing.run(items, gone)
        try:
            self.loop.call_soon_threadsafe(self._finished, entries, outcomes, took_s)
        except RuntimeError:
            # The loop was closed under its futures; nobody is left to be told.
            return

    async def _run_async(
        self, entries: list[ItemFuture], items: list[Any], gone: Callable[[int], bool]
    ) -> None:
        outcomes, took_s = await self._processing.run_async(items, gone)
        self._finished(entries, outcomes, took_s)

    def _finished(self, entries: list[ItemFuture], outcomes: list[Any], took_s: float) -> None:
        self.policy.finished(len(entries), took_s)
        tally = self.tally
        tally.processed_s += took_s
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


def _fail(future: ItemFuture, error: Exception) -> None:
    future.item = None
    if not future.done():
        future.set_exception(error)
