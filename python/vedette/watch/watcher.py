"""The watch itself: each source's frames through the gate to the tasks, and what they find to the
recorder.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from vedette import memory
from vedette.errors import InputError, SourceError, VedetteError
from vedette.runtime import Budget
from vedette.runtime.resident import resident_bytes
from vedette.runtime.target import CpuPressure
from vedette.sources import Frame, Source, SourceEnded
from vedette.store import Store
from vedette.watch.clocks import ClockWatch
from vedette.watch.events import Event
from vedette.watch.gate import Gate
from vedette.watch.governor import STEPS, Governor, Readings, Step
from vedette.watch.health import SourceHealth, StageClock
from vedette.watch.looks import Looks
from vedette.watch.machine import Machine
from vedette.watch.options import WatchOptions
from vedette.watch.privacy import cover, paused_until
from vedette.watch.recorder import Recorder
from vedette.watch.task import Task
from vedette.watch.thumbnails import thumbnail
from vedette.watch.usage import Usage

__all__ = ["Watcher"]

_WAIT_S = 0.25
"""Longest wait for a frame at a time, so that a request to stop is heard."""

_HEARTBEAT_S = 10.0

_REOPEN_S = (0.25, 30.0)
"""First and longest wait before a source that was lost is opened again."""

_TICK_S = 1.0


@dataclass(slots=True)
class _Watched:
    source: Source
    tasks: Sequence[Task]
    gate: Gate
    health: SourceHealth
    looks: Looks
    ended: bool = False
    step: Step = STEPS[0]
    trimmed: bool = False
    refreshed: float = -1e9
    pictured: float = -1e9

    def is_late(self) -> bool:
        """Whether it is to be looked at again while a frame is still being looked at."""
        return self.health.processing_since is not None and self.looks.is_late()


class Watcher:
    """Watches sources until they end or :meth:`stop` is called.

    Parameters
    ----------
    sources
        What to watch.
    tasks
        Makes the tasks of a source: each has its own, since they remember what they saw.
    store
        Where events are kept; None to keep none. The watcher closes it.
    on_event
        Called with each event, after it was written.
    on_incident
        Called with what happens to the watch itself: source, kind, detail.
    budget
        Of CPU and memory, in which frames are processed.
    options
        How to watch.
    cpu_pressure
        Measures who waits for cores; what the system says unless given.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        tasks: Callable[[Source], Sequence[Task]],
        *,
        store: Store | None = None,
        on_event: Callable[[Event], None] | Sequence[Callable[[Event], None]] = (),
        on_incident: Callable[[str, str, str], object] = lambda *_: None,
        budget: Budget | None = None,
        options: WatchOptions | None = None,
        cpu_pressure: CpuPressure | None = None,
    ) -> None:
        if not sources:
            raise InputError("expected at least one source")
        self.options = options or WatchOptions()
        if self.options.rate <= 0:
            raise InputError(f"expected a rate above 0, got {self.options.rate}")
        listeners = [on_event] if callable(on_event) else list(on_event)
        self.recorder = Recorder(store, listeners, on_incident)
        self.clock = StageClock()
        self.usage = Usage(self.clock)
        self._budget = budget
        self._store_path = None if store is None else store.path
        self._store = store
        self._paused = False
        self._machine = Machine(cpu_pressure or CpuPressure())
        self._clocks = ClockWatch()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._watched = [
            _Watched(
                source, tasks(source), Gate(source.comparison), SourceHealth(source.name), self._looks(source)
            )
            for source in sources
        ]
        self.governor = Governor()
        self._inference = threading.Lock()
        self._began = time.monotonic()

    def _looks(self, source: Source) -> Looks:
        options = self.options
        longest_s = min(options.stall_s / 2, options.refresh_s or math.inf)
        return Looks(source, options.rate, options.peek_s, longest_s, self._stopping.wait)

    def stop(self) -> None:
        """End soon; any thread, and a signal handler, may call it."""
        self._stopping.set()
        for watched in self._watched:
            watched.source.interrupt()

    def run(self) -> None:
        """Watch; returns when every source has ended or the watch was stopped, with everything written."""
        threads = [
            threading.Thread(target=self._watch, args=(watched,), name=f"watch {watched.source.name}")
            for watched in self._watched
        ]
        now = time.time()
        for watched in self._watched:
            self.recorder.record(watched.source.name, now, incidents=[("started", "")])
        self._look_around()
        for thread in threads:
            thread.start()
        beat = time.monotonic()
        try:
            while not self._ended.wait(_TICK_S):
                self.usage.sample()
                self._look_around()
                if time.monotonic() - beat >= _HEARTBEAT_S:
                    beat = time.monotonic()
                    self.recorder.heartbeat(time.time())
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
            watched.health.waiting = watched.source.waiting
        budget = None
        if self._budget is not None:
            stats = self._budget.stats()
            budget = {
                "limit_cores": stats.limit_cores,
                "target_cores": stats.target_cores,
                "used_cores": round(stats.used_cores, 4),
                "waited_s": round(stats.waited_s + stats.paused_s, 3),
                "memory_limit_bytes": stats.memory_limit_bytes,
                "memory_level": stats.memory_level,
            }
        return {
            "running_s": round(now - self._began, 3),
            "paused": self._paused,
            "sources": [watched.health.to_dict(now) for watched in self._watched],
            "cpu_s": {stage: round(seconds, 4) for stage, seconds in self.clock.by_stage().items()},
            **self.usage.to_dict(),
            "memory_by_owner": self._memory_by_owner(),
            "queues": {
                "frames": sum(watched.source.waiting for watched in self._watched),
                "events": self.recorder.pending,
            },
            "budget": budget,
            "governor": {
                "step": self.governor.step.name,
                "level": self.governor.level,
                "of": len(STEPS) - 1,
                "reason": self.governor.reason,
                "rate": round(self.options.rate * self.governor.step.rate, 4),
            },
            **self._machine.to_dict(),
            "store": {
                "path": None if self._store_path is None else str(self._store_path),
                "written": self.recorder.written,
                "pending": self.recorder.pending,
                "discarded": self.recorder.discarded,
                "trouble": self.recorder.trouble,
                "set_aside": self.recorder.set_aside,
            },
        }

    def _memory_by_owner(self) -> dict[str, int]:
        """Bytes held for what; the rest is the interpreter, its libraries and what nobody counts."""
        tasks = [task for watched in self._watched for task in watched.tasks]
        # Sources share their models.
        models = {id(model): model.nbytes or 0 for task in tasks for model in task.models}
        held = {
            "models": sum(models.values()),
            "frames": sum(watched.gate.nbytes for watched in self._watched)
            + memory.default_pool().stats().held_bytes,
            "store": 0 if self._store is None else self._store.cache_bytes,
            "cache": sum(task.cache_bytes for task in tasks),
        }
        total = resident_bytes()
        return held if total is None else held | {"rest": max(0, total - sum(held.values()))}

    def _govern(self) -> None:
        """Choose how to watch by what there is; where that changes, it is told."""
        readings = Readings(
            late=any(watched.is_late() for watched in self._watched),
            pressure=self._machine.pressure,
            used_cores=self.usage.cores,
            on_battery=self._machine.on_battery,
            temperature_c=self._machine.temperature_c,
            memory_level="normal" if self._budget is None else self._budget.memory_level,
        )
        if self.governor.look(readings):
            detail = ": ".join(filter(None, (self.governor.step.name, self.governor.reason)))
            self.recorder.record("", time.time(), incidents=[("budget", detail)])

    def _look_around(self) -> None:
        """Pause, clocks, the machine and stalls: what is looked at once a second."""
        paused = self._store_path is not None and paused_until(self._store_path) is not None
        if paused != self._paused:
            self._paused = paused
            for watched in self._watched:
                self._note(watched, "paused" if paused else "resumed", "")
                watched.source.interrupt()
        for kind, detail in self._clocks.look():
            for watched in self._watched:
                self._note(watched, kind, detail)
                watched.health.last_frame = time.monotonic()
        news = self._machine.look(self.usage.cores)
        if news is not None:
            for watched in self._watched:
                self._note(watched, news, "")
        self._govern()
        for watched in self._watched:
            self._look_for_stall(watched)

    def _note(self, watched: _Watched, kind: str, detail: str) -> None:
        self.recorder.record(watched.health.name, time.time(), incidents=[(kind, detail)])

    def _look_for_stall(self, watched: _Watched) -> None:
        health = watched.health
        reason = None if self._paused else health.stall(time.monotonic(), self.options.stall_s)
        if reason is not None and not health.stalled:
            health.stalled, health.detail = True, reason
            self._note(watched, "stalled", reason)
        elif reason is None and health.stalled:
            health.stalled, health.detail = False, ""
            self._note(watched, "going on", "")

    def _watch(self, watched: _Watched) -> None:
        health = watched.health
        try:
            with self.clock.stage("capture"):
                watched.source.open()
            health.state = "watching"
            self._read_frames(watched)
            health.state = "ended"
        except Exception as error:
            # Sources are anybody's too; the others go on.
            health.state = "failed"
            health.detail = str(error) if isinstance(error, VedetteError) else repr(error)
            self._note(watched, "failed", health.detail)
        finally:
            try:
                with contextlib.suppress(SourceError):
                    watched.source.close()
            finally:
                watched.ended = True
                if all(other.ended for other in self._watched):
                    self._ended.set()

    def _read_frames(self, watched: _Watched) -> None:
        health = watched.health
        while not self._stopping.is_set():
            if self._paused:
                # What was there before is compared with afterwards; a frame that was on its way is not kept.
                health.state = "paused"
                watched.source.skip()
                self._stopping.wait(_WAIT_S)
                continue
            try:
                if watched.source.live and not self._await_look(watched):
                    continue
                with self.clock.stage("capture"):
                    frame = watched.source.read(_WAIT_S)
            except SourceEnded:
                self._tell_reports(watched)
                return
            except SourceError as error:
                if not error.temporary:
                    raise
                self._open_again(watched, error)
                continue
            self._tell_reports(watched)
            if self._paused:
                continue
            if frame is None:
                watched.looks.found(False)
                continue
            health.state = "watching"
            health.seen += 1
            health.last_frame = time.monotonic()
            self._look(watched, frame)

    def _tell_reports(self, watched: _Watched) -> None:
        health = watched.health
        for kind, detail in watched.source.take_reports():
            health.state = {"lost": "lost", "back": "watching"}.get(kind, health.state)
            health.reopened += kind == "back"
            self._note(watched, kind, detail)

    def _await_look(self, watched: _Watched) -> bool:
        return watched.looks.await_next(self.governor.step.rate, self._is_over)

    def _is_over(self) -> bool:
        return self._stopping.is_set() or self._paused

    def _open_again(self, watched: _Watched, error: SourceError) -> None:
        """Try until the source is back or the watch ends, as after a screen has changed its size."""
        health = watched.health
        health.state = "lost"
        self._note(watched, "lost", str(error))
        wait_s, longest_s = _REOPEN_S
        while not self._stopping.wait(wait_s):
            wait_s = min(2 * wait_s, longest_s)
            with contextlib.suppress(SourceError):
                watched.source.close()
                watched.source.open()
                health.reopened += 1
                self._note(watched, "back", "")
                return

    def _look(self, watched: _Watched, frame: Frame) -> None:
        health = watched.health
        with self.clock.stage("gate"):
            frame = cover(frame, self.options.exclude)
            change = watched.gate.examine(frame)
        now = time.monotonic()
        refresh_s = self.options.refresh_s
        if refresh_s is None:
            refresh_s = 3600.0 if watched.gate.comparison == "exact" else 300.0
        refresh = now - watched.refreshed >= refresh_s
        watched.looks.found(change is not None)
        if change is None and not refresh:
            health.unchanged += 1
            return
        if refresh:
            change = None
            watched.refreshed = now
        health.processing_since = time.monotonic()
        self._provide(watched)
        events: list[Event] = []
        with self._inference, self._slice():
            for task in watched.tasks:
                try:
                    with self.clock.stage("inference"):
                        events += task.process(health.name, frame, change)
                except Exception as error:
                    # Tasks are anybody's: what goes wrong in one frame must not end the watch.
                    health.failed += 1
                    task.reset()
                    known = isinstance(error, VedetteError)
                    self._note(watched, "failed", str(error) if known else f"{task.name}: {error!r}")
        with self.clock.stage("gate"):
            watched.gate.accept(frame)
        with self.clock.stage("storage"):
            picture = self._picture(watched, frame, events, now)
            self.recorder.record(health.name, frame.at, events, thumbnail=picture)
        health.processing_since = None
        health.processed += 1
        health.events += len(events)
        health.last_output = time.monotonic()

    def _provide(self, watched: _Watched) -> None:
        """Have the tasks of a source keep to what there is."""
        if watched.step is not self.governor.step:
            watched.step = self.governor.step
            for task in watched.tasks:
                try:
                    task.use(watched.step)
                except VedetteError as error:
                    # As when the models of fast numbers are gone: it goes on as it did.
                    self._note(watched, "failed", str(error))
        short = self._budget is not None and self._budget.memory_level == "critical"
        if short and not watched.trimmed:
            for task in watched.tasks:
                task.trim()
        watched.trimmed = short

    def _slice(self) -> AbstractContextManager[object]:
        return nullcontext() if self._budget is None else self._budget.slice()

    def _picture(
        self, watched: _Watched, frame: Frame, events: Sequence[Event], now: float
    ) -> tuple[tuple[int, int], bytes] | None:
        least = self.options.thumbnail_s
        unwanted = least is None or now - watched.pictured < least or self.recorder.has_no_store
        if not events or unwanted:
            return None
        watched.pictured = now
        hidden = [box for task in watched.tasks for box in task.redacted_boxes]
        return thumbnail(frame.rgb(), hidden)
