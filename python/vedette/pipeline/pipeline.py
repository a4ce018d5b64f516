"""Pipelines: stages that work side by side on different items."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from vedette.errors import ClosedError, InputError
from vedette.metrics import Family, registry
from vedette.pipeline.channel import Ticket
from vedette.pipeline.run import OnError, Run
from vedette.pipeline.stage import Stage, StageStats, Station

if TYPE_CHECKING:
    from vedette.runtime import Budget


@dataclass(frozen=True)
class PipelineStats:
    """What a pipeline has done."""

    stages: tuple[StageStats, ...]
    drops: Mapping[str, int]
    """Items of ended streams that gave no result, by cause."""


class Pipeline:
    """A row of stages, each with its own threads and its own bounded queue.

    Whoever is slowest sets the pace: stages before it wait for room in its queue, and the source is asked for
    no more than fits. Stages start with the first item. Several streams may run through one pipeline at a
    time.

    ::

        with vd.pipeline.Pipeline(decode, vd.pipeline.Stage(detect, workers=2), store) as pipeline:
            for result in pipeline.stream(paths):
                ...

    Parameters
    ----------
    *stages
        Functions, coroutine functions, or :class:`Stage` where more is to be said of one.
    budget
        Each call of a stage is a slice of it.
    name
        What it is called in metrics.
    """

    def __init__(
        self,
        *stages: Stage | Callable[[Any], Any],
        budget: Budget | None = None,
        name: str = "pipeline",
    ) -> None:
        if not stages:
            raise InputError("a pipeline needs at least one stage")
        self.name = name
        self.stages = tuple(stage if isinstance(stage, Stage) else Stage(stage) for stage in stages)
        self._budget = budget
        self._drops: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._inside: _Inside | None = None
        self._closed = False
        registry().track(self)

    def execute(self, item: Any) -> Any:
        """Send one item through all stages and wait for what comes out.

        Raises
        ------
        StageError
            A stage failed; its cause is what the stage raised.
        """
        run, inside = self._begin(True, "stop", False, None)
        try:
            index = run.take_in()
            if index is not None:
                inside.stations[0].take(Ticket(run, index, item))
            run.end_source()
            outcome = run.take_out()
            if outcome is None:
                raise ClosedError("the pipeline was shut down while this item was under way")
            return outcome.value
        finally:
            self._end(run)

    def execute_batch(self, items: Iterable[Any], *, on_error: OnError = "stop") -> list[Any]:
        """Send items through all stages; the results, in the order of the items."""
        return list(self.stream(items, on_error=on_error))

    def stream(
        self,
        source: Iterable[Any],
        *,
        ordered: bool = True,
        on_error: OnError = "stop",
        latest: bool = False,
        drops: Counter[str] | None = None,
    ) -> Iterator[Any]:
        """Send items through all stages, and give their results as they come.

        The source is read on a thread of its own, no further ahead than the queues hold.

        Parameters
        ----------
        source
            Items; what it raises is raised here, after the results of the items before.
        ordered
            Whether results come in the order of their items, or as they are ready.
        on_error
            ``"stop"``: raise the first ``StageError`` and end; ``"skip"``: leave the item out (and count it);
            ``"return"``: give the ``StageError`` in its place.
        latest
            For live sources: nothing waits, and an item that is not yet begun makes way for a newer one,
            before each stage and before the caller. Every item that makes way is counted with the cause.
        drops
            Where to count, by cause, the items of this stream that give no result.

        Raises
        ------
        StageError
            A stage failed; its cause is what the stage raised.
        ClosedError
            The pipeline has been shut down.
        """
        run, inside = self._begin(ordered, on_error, latest, drops)
        return self._results(run, inside, source)

    def _results(self, run: Run, inside: _Inside, source: Iterable[Any]) -> Iterator[Any]:
        try:
            feeder = threading.Thread(
                target=_feed, args=(run, source, inside.stations[0]), name=f"{self.name}-source", daemon=True
            )
            feeder.start()
            while (outcome := run.take_out()) is not None:
                yield outcome.value if outcome.error is None else outcome.error
        finally:
            self._end(run)

    async def execute_async(self, item: Any) -> Any:
        """The same as ``execute`` for coroutines."""
        results = [result async for result in self.stream_async([item])]
        return results[0]

    async def stream_async(
        self,
        source: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool = True,
        on_error: OnError = "stop",
        latest: bool = False,
        drops: Counter[str] | None = None,
    ) -> AsyncIterator[Any]:
        """The same as ``stream`` for coroutines; the source may be asynchronous too."""
        run, inside = self._begin(ordered, on_error, latest, drops)
        # Both wait on threads of their own, whatever the event loop's executor is busy with.
        threads = ThreadPoolExecutor(2, thread_name_prefix=f"{self.name}-stream")
        loop = asyncio.get_running_loop()
        feeding: asyncio.Future[None]
        if isinstance(source, AsyncIterable):
            feeding = asyncio.ensure_future(_feed_async(run, source, inside.stations[0], threads))
        else:
            feeding = loop.run_in_executor(threads, _feed, run, source, inside.stations[0])
        try:
            while (outcome := await loop.run_in_executor(threads, run.take_out)) is not None:
                yield outcome.value if outcome.error is None else outcome.error
        finally:
            self._end(run)
            feeding.cancel()
            threads.shutdown(wait=False)

    def stats(self) -> PipelineStats:
        """What the pipeline has done."""
        with self._lock:
            stations = (
                self._inside.stations if self._inside else [Station(stage, None) for stage in self.stages]
            )
            return PipelineStats(tuple(station.stats() for station in stations), dict(self._drops))

    def metrics(self) -> Iterator[Family]:
        """The same as metrics."""
        stats = self.stats()
        items = Family("vedette_pipeline_items_total", "counter", "items by what became of them")
        queued = Family("vedette_pipeline_queued", "gauge", "items that wait for a stage")
        running = Family("vedette_pipeline_running", "gauge", "items a stage works on")
        drops = Family("vedette_pipeline_drops_total", "counter", "items that went no further, by cause")
        seconds = Family("vedette_pipeline_stage_seconds", "histogram", "time of a stage for an item")
        for stage in stats.stages:
            labels = {"pipeline": self.name, "stage": stage.name}
            items.add(float(stage.processed - stage.failed), outcome="done", **labels)
            items.add(float(stage.failed), outcome="failed", **labels)
            queued.add(float(stage.queued), **labels)
            running.add(float(stage.running), **labels)
        for cause, count in stats.drops.items():
            drops.add(float(count), pipeline=self.name, cause=cause)
        with self._lock:
            for station in self._inside.stations if self._inside else []:
                seconds.add(station.seconds, pipeline=self.name, stage=station.stage.name)
        yield from (items, queued, running, drops, seconds)

    def close(self, *, wait: bool = True) -> None:
        """End the threads, and ``wait`` until they have; streams under way raise ``ClosedError``."""
        self._closed = True
        with self._lock:
            inside = self._inside
        if inside is not None:
            inside.close()
            if wait:
                inside.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Pipeline {' > '.join(stage.name for stage in self.stages)}>"

    def _begin(
        self, ordered: bool, on_error: OnError, latest: bool, drops: Counter[str] | None
    ) -> tuple[Run, _Inside]:
        if on_error not in ("stop", "skip", "return"):
            raise InputError(f'on_error must be "stop", "skip" or "return", got {on_error!r}')
        if self._closed:
            raise ClosedError("the pipeline has been shut down; make a new one")
        with self._lock:
            if self._inside is None or self._inside.pid != os.getpid():
                # A forked child has none of the threads, so it starts its own.
                self._inside = _Inside(self.stages, self._budget)
                # The threads know the inside only, so a pipeline that is forgotten can end them.
                weakref.finalize(self, self._inside.close)
            inside = self._inside
        window = sum(stage.workers + stage.queue_size for stage in self.stages)
        run = Run(window=window, ordered=ordered, latest=latest, on_error=on_error, told=drops)
        inside.add(run)
        return run, inside

    def _end(self, run: Run) -> None:
        run.stop()
        with self._lock:
            self._drops.update(run.drops)
            inside = self._inside
        if inside is not None:
            inside.discard(run)


class _Inside:
    """The threads of a pipeline and what they share."""

    def __init__(self, stages: tuple[Stage, ...], budget: Budget | None) -> None:
        self.pid = os.getpid()
        # A stream that nobody ever begins to read is forgotten without a word.
        self._runs: weakref.WeakSet[Run] = weakref.WeakSet()
        self.stations = [Station(stage, budget) for stage in stages]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: threading.Thread | None = None
        self._lock = threading.RLock()
        self._threads: list[threading.Thread] = []
        for station, following in zip(self.stations, [*self.stations[1:], None], strict=True):
            self._threads += station.threads(following, self._get_loop)
        for thread in self._threads:
            thread.start()

    def _get_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of asynchronous stages, running on a thread of its own."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop_thread = threading.Thread(
                    target=_run_loop, args=(self._loop,), name="pipeline-async-stages", daemon=True
                )
                self._loop_thread.start()
            return self._loop

    def add(self, run: Run) -> None:
        with self._lock:
            self._runs.add(run)

    def discard(self, run: Run) -> None:
        with self._lock:
            self._runs.discard(run)

    def close(self) -> None:
        if self.pid != os.getpid():
            return
        with self._lock:
            runs = list(self._runs)
        for run in runs:
            run.stop()
        for station in self.stations:
            station.channel.close()
        with self._lock:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_cancel_all, self._loop)
        # The event loop goes on until the last worker that may wait for it has ended.
        threading.Thread(target=self._end_loop, name="pipeline-end", daemon=True).start()

    def join(self) -> None:
        for thread in [*self._threads, self._loop_thread]:
            if thread is not None and thread is not threading.current_thread():
                thread.join()

    def _end_loop(self) -> None:
        for thread in self._threads:
            thread.join()
        with self._lock:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._loop.stop)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()


def _feed(run: Run, source: Iterable[Any], first: Station) -> None:
    try:
        for item in source:
            index = run.take_in()
            if index is None:
                return
            first.take(Ticket(run, index, item))
    except BaseException as error:
        run.end_source(error)
    else:
        run.end_source()
    finally:
        # A generator that is a source ends here, on the thread it ran on.
        close = getattr(source, "close", None)
        if run.stopped and close is not None:
            with suppress(Exception):
                close()


async def _feed_async(
    run: Run, source: AsyncIterable[Any], first: Station, threads: ThreadPoolExecutor
) -> None:
    loop = asyncio.get_running_loop()

    def take(item: Any) -> bool:
        index = run.take_in()
        if index is None:
            return False
        first.take(Ticket(run, index, item))
        return True

    try:
        async for item in source:
            if not await loop.run_in_executor(threads, take, item):
                return
    except BaseException as error:
        run.end_source(error)
        if isinstance(error, asyncio.CancelledError):
            raise
    else:
        run.end_source()
