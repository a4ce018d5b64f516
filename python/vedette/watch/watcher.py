"""The watch itself: each source's frames through the gate to the tasks, and what they find to the
recorder.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vedette.errors import InputError, SourceError, VedetteError
from vedette.ocr.change import Rectangle
from vedette.sources import Frame, Source, SourceEnded
from vedette.store import Store
from vedette.watch.events import Event
from vedette.watch.gate import Gate
from vedette.watch.health import SourceHealth, StageClock
from vedette.watch.recorder import Recorder
from vedette.watch.task import Task
from vedette.watch.thumbnails import thumbnail

__all__ = ["WatchOptions", "Watcher"]

_WAIT_S = 0.25
"""Longest wait for a frame at a time, so that a request to stop is heard."""

_HEARTBEAT_S = 10.0
_TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How to watch.

    Attributes
    ----------
    rate
        Frames a second that are taken from a live source.
    refresh_s
        After so long a frame is processed as a whole even if nothing changed; None for an hour where frames
        are
        compared exactly and five minutes where they are not.
    stall_s
        After so long without a frame, or with one, a source is reported as stalled.
    thumbnail_s
        Least time between two small pictures of a source; None for no pictures.
    ignore
        Rectangles (top, left, bottom, right) of every frame that nobody looks at.
    """

    rate: float = 1.0
    refresh_s: float | None = None
    stall_s: float = 60.0
    thumbnail_s: float | None = 30.0
    ignore: tuple[Rectangle, ...] = ()


@dataclass(slots=True)
class _Watched:
    source: Source
    tasks: Sequence[Task]
    gate: Gate
    health: SourceHealth
    refreshed: float = 0.0
    pictured: float = -1e9


class Watcher:
    """Watches sources until they end or :meth:`stop` is called.

    Parameters
    ----------
    sources
        What to watch.
    tasks
        Makes the tasks of a source: each has its own, since they remember what they saw.
    store
        Where events are kept; None to keep none.
    on_event
        Called with each event, after it was written.
    options
        How to watch.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        tasks: Callable[[Source], Sequence[Task]],
        *,
        store: Store | None = None,
        on_event: Callable[[Event], None] | Sequence[Callable[[Event], None]] = (),
        options: WatchOptions | None = None,
    ) -> None:
        if not sources:
            raise InputError("expected at least one source")
        self.options = options or WatchOptions()
        if self.options.rate <= 0:
            raise InputError(f"expected a rate above 0, got {self.options.rate}")
        listeners = [on_event] if callable(on_event) else list(on_event)
        self.recorder = Recorder(store, listeners)
        self.clock = StageClock()
        self._watched = [
            _Watched(
                source,
                tasks(source),
                Gate(source.comparison, ignore=self.options.ignore),
                SourceHealth(source.name),
            )
            for source in sources
        ]
        self._stopping = threading.Event()
        self._inference = threading.Lock()
        self._began = time.monotonic()

    def stop(self) -> None:
        """End soon; any thread, and a signal handler, may call it."""
        self._stopping.set()

    def run(self) -> None:
        """Watch; returns when every source has ended or the watch was stopped, with everything written."""
        threads = [
            threading.Thread(target=self._watch, args=(watched,), name=f"watch {watched.source.name}")
            for watched in self._watched
        ]
        now = time.time()
        for watched in self._watched:
            self.recorder.record(watched.source.name, now, incidents=[("started", "")])
        for thread in threads:
            thread.start()
        beat = time.monotonic()
        try:
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(_TICK_S / len(threads))
                if time.monotonic() - beat >= _HEARTBEAT_S:
                    beat = time.monotonic()
                    self.recorder.heartbeat(time.time())
                self._look_for_stalls()
        finally:
            self.stop()
            for thread in threads:
                thread.join()
            self._finish()

    def _finish(self) -> None:
        now = time.time()
        for watched in self._watched:
            self.recorder.record(watched.source.name, now, incidents=[("stopped", watched.health.detail)])
        self.recorder.close(now)

    def status(self) -> dict[str, Any]:
        """What the watch knows of itself, as plain values."""
        now = time.monotonic()
        for watched in self._watched:
            watched.health.dropped = dict(watched.source.dropped)
        return {
            "running_s": round(now - self._began, 3),
            "sources": [watched.health.to_dict(now) for watched in self._watched],
            "cpu_s": {stage: round(seconds, 4) for stage, seconds in self.clock.by_stage().items()},
            "store": {
                "written": self.recorder.written,
                "pending": self.recorder.pending,
                "discarded": self.recorder.discarded,
                "trouble": self.recorder.trouble,
                "set_aside": self.recorder.set_aside,
            },
        }

    def _look_for_stalls(self) -> None:
        for watched in self._watched:
            health = watched.health
            reason = health.stall(time.monotonic(), self.options.stall_s)
            if reason is not None and not health.stalled:
                health.stalled = True
                health.detail = reason
                self.recorder.record(health.name, time.time(), incidents=[("stalled", reason)])
            elif reason is None and health.stalled:
                health.stalled = False
                health.detail = ""
                self.recorder.record(health.name, time.time(), incidents=[("going on", "")])

    def _watch(self, watched: _Watched) -> None:
        health = watched.health
        try:
            with self.clock.stage("capture"):
                watched.source.open()
            health.state = "watching"
            self._read_frames(watched)
            health.state = "ended"
        except VedetteError as error:
            health.state, health.detail = "failed", str(error)
            self.recorder.record(health.name, time.time(), incidents=[("failed", str(error))])
        finally:
            with contextlib.suppress(SourceError):
                watched.source.close()

    def _read_frames(self, watched: _Watched) -> None:
        health = watched.health
        due = time.monotonic()
        while not self._stopping.is_set():
            if watched.source.live:
                # The next is due an interval after the last was; time lost to processing is not made up for.
                if self._stopping.wait(max(0.0, due - time.monotonic())):
                    return
                due = max(due + 1 / self.options.rate, time.monotonic())
            try:
                with self.clock.stage("capture"):
                    frame = watched.source.read(_WAIT_S)
            except SourceEnded:
                return
            if frame is None:
                continue
            health.seen += 1
            health.last_frame = time.monotonic()
            self._look(watched, frame)

    def _look(self, watched: _Watched, frame: Frame) -> None:
        health = watched.health
        with self.clock.stage("gate"):
            change = watched.gate.examine(frame)
        now = time.monotonic()
        refresh_s = self.options.refresh_s
        if refresh_s is None:
            refresh_s = 3600.0 if watched.gate.comparison == "exact" else 300.0
        refresh = now - watched.refreshed >= refresh_s
        if change is None and not refresh:
            health.unchanged += 1
            return
        if refresh:
            change = None
            watched.refreshed = now
        health.processing_since = time.monotonic()
        events: list[Event] = []
        with self._inference:
            for task in watched.tasks:
                try:
                    with self.clock.stage("inference"):
                        events += task.process(health.name, frame, change)
                except VedetteError as error:
                    health.failed += 1
                    task.reset()
                    self.recorder.record(health.name, frame.at, incidents=[("failed", str(error))])
        with self.clock.stage("gate"):
            watched.gate.accept(frame)
        with self.clock.stage("storage"):
            self.recorder.record(
                health.name, frame.at, events, thumbnail=self._picture(watched, frame, events, now)
            )
        health.processing_since = None
        health.processed += 1
        health.events += len(events)
        health.last_output = time.monotonic()

    def _picture(
        self, watched: _Watched, frame: Frame, events: Sequence[Event], now: float
    ) -> tuple[tuple[int, int], bytes] | None:
        least = self.options.thumbnail_s
        if not events or least is None or now - watched.pictured < least or self.recorder.has_no_store:
            return None
        watched.pictured = now
        hidden = [box for task in watched.tasks for box in getattr(task, "redacted_boxes", ())]
        return thumbnail(frame.rgb(), hidden)
