"""Events on their way into the store and to whoever listens: first written, then told."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vedette.errors import StoreError
from vedette.store import Sighting, Store
from vedette.watch.events import BEGINS, Event, Track

__all__ = ["Recorder"]

Listener = Callable[[Event], None]

_BACKLOG = 20_000
"""Events kept in memory while the store cannot be written."""

_RETRY_S = (1.0, 60.0)
"""First and longest wait before the store is tried again."""

_PRUNE_S = 60.0


@dataclass(slots=True)
class _Batch:
    source: str
    at: float
    events: Sequence[Event]
    thumbnail: tuple[tuple[int, int], bytes] | None
    incidents: Sequence[tuple[str | None, float, str, str]]


class Recorder:
    """Writes events and tells them.

    An event is told after the commit that holds it, so that whatever was told is on the disk. While the store
    cannot be written, events are told without a number, kept in memory and written later.

    Parameters
    ----------
    store
        Where to; None to tell only.
    listeners
        Whom to tell.
    on_incident
        Told of what happens to the watch itself: source, kind, detail.
    """

    def __init__(
        self,
        store: Store | None,
        listeners: Sequence[Listener] = (),
        on_incident: Callable[[str, str, str], object] = lambda *_: None,
    ) -> None:
        self._store = store
        self._listeners = tuple(listeners)
        self._on_incident = on_incident
        self._lock = threading.RLock()
        self._backlog: deque[_Batch] = deque()
        self._open: set[Track] = set()
        self._retry_at = 0.0
        self._retry_s = _RETRY_S[0]
        self._pruned_at = time.monotonic()
        self.trouble: str | None = None
        self.set_aside: str | None = None
        self.written = 0
        self.unwritten = 0
        self.discarded = 0
        self.committed_at: float | None = None

    @property
    def has_no_store(self) -> bool:
        """Whether events are told only."""
        return self._store is None

    @property
    def pending(self) -> int:
        """Events that wait for the store."""
        return sum(len(batch.events) for batch in self._backlog)

    def record(
        self,
        source: str,
        at: float,
        events: Sequence[Event] = (),
        *,
        thumbnail: tuple[tuple[int, int], bytes] | None = None,
        incidents: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Write, then tell."""
        noted = [(source or None, at, kind, detail) for kind, detail in incidents]
        with self._lock:
            if self._store is not None and (events or noted or thumbnail):
                self._backlog.append(_Batch(source, at, events, thumbnail, noted))
                self._flush()
                self._bound()
        for event in events:
            for listener in self._listeners:
                try:
                    listener(event)
                except Exception as error:
                    # Listeners are anybody's, and the event is kept.
                    self._on_incident(source, "callback failed", repr(error))
        for kind, detail in incidents:
            self._on_incident(source, kind, detail)

    def heartbeat(self, at: float) -> None:
        """Note that the watch is running, write what waits, remove what is too old; called now and then."""
        with self._lock:
            if self._store is None:
                return
            self._flush()
            if self.trouble is not None:
                return
            try:
                with self._store.transaction():
                    self._store.alive(at)
                if time.monotonic() - self._pruned_at >= _PRUNE_S:
                    self._pruned_at = time.monotonic()
                    self._store.prune(at)
            except StoreError as error:
                self._fail(error)

    def close(self, at: float) -> None:
        """End what is still being seen, write what waits, and close the store."""
        with self._lock:
            if self._store is None:
                return
            self._retry_at = 0.0
            self._flush()
            if self.trouble is None:
                try:
                    with self._store.transaction():
                        self._store.end([track.sighting for track in self._open if track.sighting], at)
                        self._store.alive(at)
                except StoreError as error:
                    self._fail(error)
            self.unwritten = self.pending
            self._store.close()

    def _flush(self) -> None:
        if self._store is None or not self._backlog or time.monotonic() < self._retry_at:
            return
        try:
            self._write()
        except StoreError as error:
            if error.reason == "damaged":
                self._begin_anew(error)
            else:
                self._fail(error)

    def _write(self) -> None:
        store = self._store
        assert store is not None
        batches = list(self._backlog)
        opened, closed = set(self._open), []
        with store.transaction():
            for batch in batches:
                image = None
                if batch.thumbnail is not None:
                    size, data = batch.thumbnail
                    image = store.add_thumbnail(batch.source, batch.at, size, data)
                for event in batch.events:
                    if event.ended is not None and event.ended.sighting is not None:
                        store.end([event.ended.sighting], event.at)
                        closed.append(event.ended)
                    if event.kind in BEGINS and event.track is not None:
                        event.track.sighting = store.add(_sighting(event.track, event.frame), thumbnail=image)
                        opened.add(event.track)
                for incident in batch.incidents:
                    store.add_incident(*incident)
            store.alive(batches[-1].at)
        self._open = opened.difference(closed)
        self._backlog.clear()
        self.written += sum(len(batch.events) for batch in batches)
        self.committed_at = time.time()
        if self.trouble is not None:
            self._on_incident("", "store back", f"{self.written} events written")
        self.trouble = None
        self._retry_s, self._retry_at = _RETRY_S[0], 0.0

    def _begin_anew(self, error: StoreError) -> None:
        """The file is damaged: it is set aside, and what is being seen is written into a new one."""
        store = self._store
        assert store is not None
        try:
            self.set_aside = str(store.begin_anew())
            self._on_incident("", "store damaged", f"it is kept as {self.set_aside}; a new one is begun")
            self._rewrite_open()
            self._write()
        except (StoreError, OSError) as failure:
            self._fail(failure if isinstance(failure, StoreError) else error)

    def _rewrite_open(self) -> None:
        store = self._store
        assert store is not None
        with store.transaction():
            for track in self._open:
                track.sighting = store.add(_sighting(track))

    def _fail(self, error: StoreError) -> None:
        if self.trouble is None:
            self._on_incident("", "store trouble", f"{error}; events wait in memory")
        self.trouble = str(error)
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, _RETRY_S[1])

    def _bound(self) -> None:
        while self.pending > _BACKLOG:
            self.discarded += len(self._backlog.popleft().events)


def _sighting(track: Track, frame: int = 0) -> Sighting:
    return Sighting(
        track.source, track.kind, track.text, track.began, track.box, track.score, track.task, frame
    )
