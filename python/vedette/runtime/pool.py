"""Pools of worker threads that steal tasks from each other."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Literal, ParamSpec, Self, TypeVar

from vedette import _native
from vedette.errors import ClosedError, InputError
from vedette.metrics import Family, registry
from vedette.runtime.affinity import Affinity, worker_cores
from vedette.runtime.chunks import Chunks
from vedette.runtime.machine import MAX_THREADS, effective_cores

__all__ = ["Runtime", "RuntimeStats", "Task", "WorkerStats", "default_runtime"]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
Priority = Literal["normal", "low", "idle"]

# Between other programs' work and nothing: what `nice` itself gives unless told otherwise.
_LOW_NICE = 10


@dataclass(frozen=True)
class WorkerStats:
    """What one worker has done."""

    tasks: int
    steals: int
    """Times it took tasks from another worker."""
    busy_s: float
    idle_s: float
    cpu_s: float
    """CPU time of its thread, as of its last task."""
    cores: tuple[int, ...]
    """The cores the system lets it run on; empty where the system does not say."""


@dataclass(frozen=True)
class RuntimeStats:
    """What a runtime has done."""

    name: str
    threads: int
    queued: int
    """Tasks that wait."""
    running: int
    workers: tuple[WorkerStats, ...]
    """The workers that have started."""

    @property
    def tasks(self) -> int:
        """Tasks that have ended."""
        return sum(worker.tasks for worker in self.workers)

    @property
    def steals(self) -> int:
        """Times a worker took tasks from another."""
        return sum(worker.steals for worker in self.workers)

    @property
    def cpu_s(self) -> float:
        """CPU time of all workers."""
        return sum(worker.cpu_s for worker in self.workers)


class Task(Future[R]):
    """The result to come: a :class:`concurrent.futures.Future` that coroutines may await as well."""

    def __await__(self) -> Generator[Any, None, R]:
        return asyncio.wrap_future(self).__await__()


class _Call(Generic[R]):
    __slots__ = ("args", "function", "future", "kwargs", "runtime")

    def __init__(
        self,
        runtime: Runtime,
        future: Task[R],
        function: Callable[..., R],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.runtime = runtime
        self.future = future
        self.function = function
        self.args = args
        self.kwargs = kwargs

    def __call__(self) -> None:
        self.runtime._calls.discard(self)
        future = self.future
        if not future.set_running_or_notify_cancel():
            return
        _working_for.runtime = self.runtime
        try:
            result = self.function(*self.args, **self.kwargs)
        except BaseException as error:
            future.set_exception(error)
            # The traceback refers to this frame, and this frame must not keep the error alive in turn.
            del error, future
        else:
            future.set_result(result)


_working_for = threading.local()


class Runtime:
    """A named pool of worker threads; several may live side by side.

    Workers start with the first tasks and sleep while there are none: an idle runtime never wakes up. It
    survives ``fork`` (a child starts workers of its own when it needs them), and what a task raises reaches
    the caller whole.

    ::

        with vd.runtime.Runtime(threads=2, name="decode", priority="low") as runtime:
            images = runtime.map(vd.image.load, paths)

    Parameters
    ----------
    threads
        Workers; the cores this process may use unless given.
    affinity
        ``"compact"`` (neighbouring cores first), ``"spread"`` (cores far apart first) or a list of cores;
        worker by worker, in turn. None: the system decides.
    name
        What the threads and statistics are called.
    priority
        ``"normal"``, ``"low"`` (nice 10; utility class on macOS, below normal on Windows) or ``"idle"`` (only
        when nobody else wants the core), or a nice value from -20 to 19.

    Raises
    ------
    InputError
        A parameter has no meaning, or the system refuses it.
    """

    def __init__(
        self,
        threads: int | None = None,
        affinity: Affinity | None = None,
        *,
        name: str = "vedette",
        priority: Priority | int = "normal",
    ) -> None:
        count = effective_cores() if threads is None else threads
        if not 1 <= count <= MAX_THREADS:
            raise InputError(f"threads must be between 1 and {MAX_THREADS}, got {threads}")
        self.name = name
        self.threads = count
        self.affinity = worker_cores(affinity, count)
        self.priority = priority
        self._nice = _nice(priority)
        self._closed = False
        self._calls: set[_Call[Any]] = set()
        self._lock = threading.Lock()
        self._pool = self._make_pool()
        _runtimes.add(self)
        registry().track(self)

    def _make_pool(self) -> _native.WorkerPool:
        try:
            return _native.WorkerPool(
                self.name, self.threads, self.affinity, self._nice, self.priority == "idle"
            )
        except OSError as error:
            raise InputError(
                f"the system refuses affinity={self.affinity} with priority={self.priority!r}: {error}"
            ) from error

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Task[R]:
        """Have a worker call a function.

        Raises
        ------
        ClosedError
            The runtime has been shut down.
        """
        future: Task[R] = Task()
        call = _Call(self, future, function, args, kwargs)
        self._calls.add(call)
        if self._closed or not self._pool.submit(call):
            self._calls.discard(call)
            raise ClosedError(f"the runtime {self.name!r} has been shut down; make a new one")
        return future

    def map(
        self,
        function: Callable[[T], R],
        items: Iterable[T],
        *,
        chunk_size: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> list[R]:
        """Call a function for each item, and return the results in the order of the items.

        Workers take several items at a time: one at first, more where an item takes less than a millisecond.
        The first failure ends the rest and is raised. From within a worker of this runtime the caller works
        along, so calls may be nested.

        Parameters
        ----------
        function, items
            What to call, for what.
        chunk_size
            Items taken at a time; decided from the time they take unless given.
        progress
            Called on this thread with the numbers of items done and in all.
        """
        chunks = Chunks(function, items, self.threads, chunk_size)
        if chunks.total == 0:
            return []
        inside = getattr(_working_for, "runtime", None) is self
        helpers = min(self.threads, chunks.total) - inside
        tasks = [self.submit(chunks.work) for _ in range(helpers)]
        chunks.expect(tasks)
        try:
            if inside:
                chunks.work()
            results = chunks.wait(progress)
        finally:
            chunks.stop()
            for task in tasks:
                task.cancel()
        return results

    def cancel(self) -> int:
        """Cancel the tasks that have not begun; how many there were."""
        waiting = [call.future for call in list(self._calls) if not call.future.done()]
        return sum(future.cancel() for future in waiting)

    def shutdown(self, *, wait: bool = True, cancel: bool = False) -> None:
        """Take no more tasks; run those queued, or ``cancel`` them; and ``wait`` for the workers to end."""
        self._closed = True
        if cancel:
            self.cancel()
        self._pool.close()
        if wait and getattr(_working_for, "runtime", None) is not self:
            while not self._pool.join(3600.0):
                pass

    def stats(self) -> RuntimeStats:
        """What the runtime has done so far."""
        queued, running, workers = self._pool.facts()
        return RuntimeStats(
            self.name,
            self.threads,
            queued,
            running,
            tuple(
                WorkerStats(tasks, steals, busy, idle, cpu, tuple(cores))
                for tasks, steals, busy, idle, cpu, cores in workers
            ),
        )

    def metrics(self) -> Iterator[Family]:
        """The same as metrics, workers together."""
        stats = self.stats()
        busy = sum(worker.busy_s for worker in stats.workers)
        idle = sum(worker.idle_s for worker in stats.workers)
        for name, help, value in (
            ("tasks", "tasks that have ended", stats.tasks),
            ("steals", "times a worker took tasks from another", stats.steals),
            ("busy_seconds", "time workers spent in tasks", busy),
            ("idle_seconds", "time workers had no task", idle),
            ("cpu_seconds", "CPU time of workers", stats.cpu_s),
        ):
            yield Family(f"vedette_runtime_{name}_total", "counter", help).add(
                float(value), runtime=self.name
            )
        for name, help, value in (
            ("threads", "workers the runtime may have", stats.threads),
            ("queued", "tasks that wait", stats.queued),
            ("running", "tasks that run", stats.running),
        ):
            yield Family(f"vedette_runtime_{name}", "gauge", help).add(float(value), runtime=self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(cancel=kind is not None)

    def __repr__(self) -> str:
        state = "shut down" if self._closed else "ready"
        return f"<Runtime {self.name!r}: {self.threads} threads, {state}>"

    def _after_fork(self) -> None:
        # Dropping the parent's pool here would touch locks whose holders stayed behind.
        _left_by_parent.append(self._pool)
        self._calls = set()
        if not self._closed:
            self._pool = self._make_pool()


@functools.cache
def default_runtime() -> Runtime:
    """The runtime of those who need none of their own."""
    return Runtime(name="vedette")


def _nice(priority: Priority | int) -> int | None:
    if isinstance(priority, int) and not isinstance(priority, bool) and -20 <= priority <= 19:
        return priority
    named: dict[Any, int | None] = {"normal": None, "low": _LOW_NICE, "idle": None}
    if priority not in named:
        raise InputError(f'priority must be "normal", "low", "idle" or from -20 to 19, got {priority!r}')
    return named[priority]


_runtimes: weakref.WeakSet[Runtime] = weakref.WeakSet()
_left_by_parent: list[_native.WorkerPool] = []


def _renew_after_fork() -> None:
    if hasattr(_working_for, "runtime"):
        del _working_for.runtime
    for runtime in list(_runtimes):
        runtime._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)


@atexit.register
def _shut_down() -> None:
    # Before the interpreter ends: later, tasks that run would find none.
    for runtime in list(_runtimes):
        runtime.shutdown(cancel=True)
