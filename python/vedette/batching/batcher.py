"""Batchers: items one by one in, batches to a function, results one by one out."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from vedette.batching.adaptive import AdaptivePolicy
from vedette.batching.loop_driver import LoopDriver
from vedette.batching.policy import BatchConfig, BatchPolicy
from vedette.batching.processing import Processing
from vedette.batching.statistics import BatcherStats
from vedette.batching.thread_driver import ThreadBatcher
from vedette.errors import ClosedError, InputError

if TYPE_CHECKING:
    from vedette.runtime import Budget

T = TypeVar("T")
R = TypeVar("R")
Process = Callable[[list[T]], Sequence[R | BaseException] | Awaitable[Sequence[R | BaseException]]]


class DynamicBatcher(Generic[T, R]):
    """Collect items into batches and give each caller the result of its item.

    ``async with`` runs it on the event loop; ``with`` runs it on threads and gives a :class:`ThreadBatcher`,
    whose ``submit`` returns a :class:`concurrent.futures.Future`.

    ::

        async with vd.batching.DynamicBatcher(vd.batching.BatchConfig(max_batch_size=16), process) as batcher:
            result = await batcher.submit(item)

    Parameters
    ----------
    config
        How items become batches.
    process
        Takes a list of items and returns a list with a result for each; a result that is an exception fails
        that item alone. A coroutine function runs on the event loop, any other on threads.
    budget
        Each batch is a slice of it.
    inline
        Call ``process`` on the event loop itself: for functions that take microseconds.
    name
        What its threads and metrics are called.
    """

    def __init__(
        self,
        config: BatchConfig,
        process: Process[T, R],
        *,
        budget: Budget | None = None,
        inline: bool = False,
        name: str = "batcher",
    ) -> None:
        self.config = config
        self.name = name
        self._is_async = inspect.iscoroutinefunction(process) or inspect.iscoroutinefunction(
            getattr(process, "__call__", None)  # noqa: B004 - objects with an async __call__
        )
        if inline and self._is_async:
            raise InputError("inline is for functions; a coroutine function runs on the event loop anyway")
        self._inline = inline
        self._processing = Processing(process, split=config.isolate_failures, budget=budget)
        self._driver: LoopDriver | None = None
        self._threads: ThreadBatcher[T, R] | None = None

    def _make_policy(self) -> BatchPolicy:
        return BatchPolicy(self.config)

    def submit(self, item: T, *, priority: int = 0, timeout_ms: float | None = None) -> asyncio.Future[R]:
        """Queue an item; await the future for its result.

        Parameters
        ----------
        item
            Whatever ``process`` takes.
        priority
            Lower runs first; within one priority, items run in the order in which they came.
        timeout_ms
            How long the item may wait before it is refused with ``DeadlineError``.

        Raises
        ------
        QueueFullError
            ``max_queue_size`` items wait already.
        ClosedError
            The batcher is not running.
        """
        if self._driver is None:
            raise ClosedError(
                "the batcher is not running on an event loop: enter it with `async with`, "
                "or submit to what `with` returned"
            )
        return self._driver.submit(item, priority, None if timeout_ms is None else timeout_ms / 1e3)

    def stats(self) -> BatcherStats:
        """What the batcher has done since it was last entered.

        Raises
        ------
        ClosedError
            It was never entered.
        """
        if self._threads is not None:
            return self._threads.stats()
        if self._driver is not None:
            return self._driver.tally.stats(self._driver.policy)
        raise ClosedError("the batcher was never entered")

    def start(self) -> Self:
        """Begin on the running event loop, for those who cannot use ``async with``; ``close`` at the end."""
        self._driver = LoopDriver(
            self._make_policy(),
            self._processing,
            is_async=self._is_async,
            inline=self._inline,
            name=self.name,
        )
        return self

    def start_threads(self) -> ThreadBatcher[T, R]:
        """Begin on threads, for those who cannot use ``with``; close what this returns at the end.

        Raises
        ------
        InputError
            ``process`` is a coroutine function.
        """
        if self._is_async:
            raise InputError(
                "process is a coroutine function: use `async with`, or give a function for threads"
            )
        self._threads = ThreadBatcher(self._make_policy(), self._processing, name=self.name)
        return self._threads

    async def close(self, *, drain: bool = True) -> None:
        """Run what waits, or refuse it with ``ClosedError`` where ``drain`` is false; then end."""
        if self._driver is not None:
            await self._driver.close(drain=drain)

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __enter__(self) -> ThreadBatcher[T, R]:
        return self.start_threads()

    def __exit__(self, *_: object) -> None:
        if self._threads is not None:
            self._threads.close()


class AdaptiveBatcher(DynamicBatcher[T, R]):
    """A batcher that makes batches as large as a target latency allows, by what batches have cost so far.

    The cost of a batch is a line through the last dozens of batches plus the 95th percentile of its misses.
    Items wait for company only where that delays them by less than the fixed cost of a batch; on a CPU that
    cost is often near zero, and then nothing ever waits. ``max_wait_ms`` bounds that wait where it is not 0;
    ``preferred_batch_size`` has no meaning here.

    Parameters
    ----------
    config
        How items become batches.
    target_latency_ms
        What the time from ``submit`` to the result should stay below for 19 of 20 items. It can be held while
        items come no faster than batches of half that length can run.
    process, budget, inline, name
        As for :class:`DynamicBatcher`.
    """

    def __init__(
        self,
        config: BatchConfig,
        target_latency_ms: float,
        process: Process[T, R],
        *,
        budget: Budget | None = None,
        inline: bool = False,
        name: str = "batcher",
    ) -> None:
        if not target_latency_ms > 0:
            raise InputError(f"target_latency_ms must be above 0, got {target_latency_ms}")
        super().__init__(config, process, budget=budget, inline=inline, name=name)
        self._target_s = target_latency_ms / 1e3

    def _make_policy(self) -> Any:
        return AdaptivePolicy(self.config, self._target_s)
