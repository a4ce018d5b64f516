"""Many calls at a time, but not too many, not too fast, and again where they fail."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from vedette.errors import ClosedError, DeadlineError, InputError
from vedette.metrics import Family, registry

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_MOST_LATE = 1000
"""Functions that may go on although their time is up; beyond that, those that come next wait for a thread."""


@dataclass(frozen=True)
class ExecutorStats:
    """What an executor has done."""

    running: int
    waiting: int
    completed: int
    failed: int
    """Calls that failed for good."""
    retried: int
    timed_out: int
    """Attempts that took longer than their time."""


class AsyncExecutor:
    """Run functions and coroutine functions from coroutines, within limits.

    ::

        async with vd.pipeline.AsyncExecutor(8, rate_per_s=50, retries=2, timeout_s=5) as executor:
            pages = await executor.map(fetch, addresses)

    Parameters
    ----------
    limit
        Calls at a time. Functions run on threads, coroutine functions on the event loop.
    rate_per_s
        Starts of calls a second, evenly spaced; retries count. None: no limit.
    retries
        How often a call that fails is tried again.
    timeout_s
        How long an attempt may take. A function that is late cannot be stopped: its thread goes on, and its
        place is free for the next.
    backoff_s
        Pause before the first retry; each further one doubles it, and chance adds up to as much again.
    retry_on
        What is worth trying again.
    chance
        Where the pauses get their chance from.
    name
        What it is called in metrics.
    """

    def __init__(
        self,
        limit: int,
        *,
        rate_per_s: float | None = None,
        retries: int = 0,
        timeout_s: float | None = None,
        backoff_s: float = 0.1,
        retry_on: tuple[type[Exception], ...] = (Exception,),
        chance: Callable[[], float] = random.random,
        name: str = "executor",
    ) -> None:
        if limit < 1:
            raise InputError(f"limit must be at least 1, got {limit}")
        if rate_per_s is not None and not rate_per_s > 0:
            raise InputError(f"rate_per_s must be above 0, got {rate_per_s}")
        if retries < 0:
            raise InputError(f"retries must not be negative, got {retries}")
        self.limit = limit
        self.name = name
        self._places = asyncio.Semaphore(limit)
        # The event loop's own threads are few, and whoever else waits for a file would wait for these calls.
        # A thread starts only where none is free.
        self._threads = ThreadPoolExecutor(limit + _MOST_LATE, thread_name_prefix=name)
        self._spacing_s = 0.0 if rate_per_s is None else 1 / rate_per_s
        self._next_start = 0.0
        self._retries = retries
        self._timeout_s = timeout_s
        self._backoff_s = backoff_s
        self._retry_on = retry_on
        self._chance = chance
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        registry().track(self)
        self._running = self._waiting = self._completed = self._failed = self._retried = self._late = 0

    async def run(
        self,
        function: Callable[P, Awaitable[R]] | Callable[P, R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call a function or coroutine function as soon as the limits allow, and give its result.

        Raises
        ------
        ClosedError
            The executor has been shut down.
        DeadlineError
            The last attempt took longer than ``timeout_s``.
        Exception
            What the last attempt raised.
        """
        self._refuse_if_closed()
        return cast("R", await self._run(function, args, kwargs))

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClosedError("the executor has been shut down; make a new one")

    async def _run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        attempt = 0
        while True:
            try:
                result = await self._attempt(function, args, kwargs)
            except self._retry_on as error:
                if attempt == self._retries:
                    self._failed += 1
                    raise
                pause = self._backoff_s * 2**attempt * (1 + self._chance())
                attempt += 1
                self._retried += 1
                # The error's traceback refers to this frame, which lives on.
                del error
                await asyncio.sleep(pause)
            except BaseException:
                self._failed += 1
                raise
            else:
                self._completed += 1
                return result

    def submit(
        self,
        function: Callable[P, Awaitable[R]] | Callable[P, R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> asyncio.Task[R]:
        """The same as ``run``, as a task that may be awaited later or cancelled."""
        self._refuse_if_closed()
        task = asyncio.get_running_loop().create_task(self._run(function, args, kwargs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def map(
        self, function: Callable[[T], Awaitable[R]] | Callable[[T], R], items: Iterable[T]
    ) -> list[R]:
        """Call a function for each item; the results, in the order of the items.

        The first failure cancels the rest and is raised.
        """
        tasks: list[asyncio.Task[R]] = [self.submit(function, item) for item in items]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    def stats(self) -> ExecutorStats:
        """What the executor has done."""
        return ExecutorStats(
            self._running, self._waiting, self._completed, self._failed, self._retried, self._late
        )

    def metrics(self) -> Iterator[Family]:
        """The same as metrics."""
        stats = self.stats()
        calls = Family("vedette_executor_calls_total", "counter", "calls by what became of them")
        for outcome in ("completed", "failed", "retried", "timed_out"):
            calls.add(float(getattr(stats, outcome)), executor=self.name, outcome=outcome)
        yield calls
        for name, value in (("running", stats.running), ("waiting", stats.waiting)):
            yield Family(f"vedette_executor_{name}", "gauge", f"calls {name}").add(
                float(value), executor=self.name
            )

    async def close(self) -> None:
        """Take no more and wait for what was submitted."""
        self._closed = True
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        await self.close()

    async def _attempt(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            await self._wait_for_turn()
            self._running += 1
            try:
                async with asyncio.timeout(self._timeout_s) as time:
                    if inspect.iscoroutinefunction(function):
                        return await function(*args, **kwargs)
                    # As asyncio.to_thread does, the function sees the caller's context variables.
                    context = contextvars.copy_context()
                    call = functools.partial(context.run, function, *args, **kwargs)
                    return await asyncio.get_running_loop().run_in_executor(self._threads, call)
            except TimeoutError as error:
                if not time.expired():
                    raise
                self._late += 1
                raise DeadlineError(f"the call took longer than {self._timeout_s} s") from error
            finally:
                self._running -= 1
        finally:
            self._places.release()

    async def _wait_for_turn(self) -> None:
        if not self._spacing_s:
            return
        now = asyncio.get_running_loop().time()
        start = max(now, self._next_start)
        self._next_start = start + self._spacing_s
        if start > now:
            await asyncio.sleep(start - now)
