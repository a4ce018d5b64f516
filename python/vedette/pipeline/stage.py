"""A stage: a function, how many of it run at a time, and how many items may wait for it."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vedette.errors import InputError, StageError
from vedette.metrics import Buckets
from vedette.pipeline.channel import Channel, Ticket
from vedette.pipeline.run import Outcome

if TYPE_CHECKING:
    from vedette.runtime import Budget


class Stage:
    """A step of a pipeline.

    Parameters
    ----------
    function
        Takes an item and returns what the next stage takes. A coroutine function runs on the pipeline's own
        event loop, any other on threads of the stage.
    name
        What it is called in errors and statistics; the function's name unless given.
    workers
        How many items it works on at a time.
    queue_size
        How many items may wait for it.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        name: str | None = None,
        workers: int = 1,
        queue_size: int = 2,
    ) -> None:
        if not callable(function):
            raise InputError(f"a stage must be a function, got {function!r}")
        for option, value in (("workers", workers), ("queue_size", queue_size)):
            if value < 1:
                raise InputError(f"{option} must be at least 1, got {value}")
        self.function = function
        self.name: str = name or str(getattr(function, "__name__", type(function).__name__))
        self.workers = workers
        self.queue_size = queue_size

    @property
    def is_async(self) -> bool:
        """Whether it runs on the event loop."""
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(
            getattr(self.function, "__call__", None)  # noqa: B004 - objects with an async __call__
        )


@dataclass(frozen=True)
class StageStats:
    """What a stage has done."""

    name: str
    workers: int
    queued: int
    """Items that wait for it."""
    running: int
    processed: int
    failed: int
    busy_s: float
    """Seconds in the function, summed over workers."""
    drops: Mapping[str, int]
    """Items that went no further here, by cause."""


class Station:
    """A stage in a pipeline: its queue, its workers and what they have done."""

    def __init__(self, stage: Stage, budget: Budget | None) -> None:
        self.stage = stage
        self.channel = Channel(stage.queue_size)
        self._budget = budget
        self._lock = threading.Lock()
        self._running = self._processed = self._failed = 0
        self.seconds = Buckets()
        self._drops: dict[str, int] = {}

    def threads(
        self, following: Station | None, loop: Callable[[], asyncio.AbstractEventLoop]
    ) -> list[threading.Thread]:
        """The workers, to be started; ``loop`` gives the event loop of coroutine functions."""
        return [
            threading.Thread(
                target=self._work, args=(following, loop), name=f"{self.stage.name}-{number}", daemon=True
            )
            for number in range(self.stage.workers)
        ]

    def stats(self) -> StageStats:
        """What the stage has done."""
        with self._lock:
            return StageStats(
                self.stage.name,
                self.stage.workers,
                len(self.channel),
                self._running,
                self._processed,
                self._failed,
                self.seconds.sum,
                dict(self._drops),
            )

    def take(self, ticket: Ticket) -> None:
        """Queue an item for this stage, waiting for room; of a run of latest frames, the newest only."""
        if ticket.run.latest:
            for older in self.channel.replace(ticket):
                self.drop(older, f"newer frame before {self.stage.name}")
        elif not self.channel.put(ticket):
            self.drop(ticket, "shut down")

    def drop(self, ticket: Ticket, cause: str) -> None:
        """Let an item go no further."""
        with self._lock:
            self._drops[cause] = self._drops.get(cause, 0) + 1
        ticket.run.drop(ticket.index, cause)

    def _work(self, following: Station | None, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        while (ticket := self.channel.get()) is not None:
            if ticket.run.stopped:
                self.drop(ticket, "stopped")
                continue
            with self._lock:
                self._running += 1
            began = time.perf_counter()
            error: StageError | None = None
            try:
                ticket.value = self._call(ticket.value, loop)
            except BaseException as cause:
                error = self._error(ticket, cause)
            took = time.perf_counter() - began
            with self._lock:
                self._running -= 1
                self.seconds.observe(took)
                self._processed += 1
                self._failed += error is not None
            if error is not None:
                ticket.run.arrive(Outcome(ticket.index, error=error))
            elif following is None:
                ticket.run.arrive(Outcome(ticket.index, ticket.value))
            else:
                following.take(ticket)
            # A worker that waits keeps nothing of its last item alive.
            del ticket, error

    def _call(self, value: Any, loop: Callable[[], asyncio.AbstractEventLoop]) -> Any:
        if self.stage.is_async:
            return asyncio.run_coroutine_threadsafe(self._call_async(value), loop()).result()
        with self._budget.slice() if self._budget else nullcontext():
            return self.stage.function(value)

    async def _call_async(self, value: Any) -> Any:
        async with self._budget.slice() if self._budget else nullcontext():
            return await self.stage.function(value)

    def _error(self, ticket: Ticket, cause: BaseException) -> StageError:
        message = f"stage {self.stage.name!r} failed for item {ticket.index}: {type(cause).__name__}: {cause}"
        error = StageError(message, stage=self.stage.name, index=ticket.index)
        error.__cause__ = cause
        return error
