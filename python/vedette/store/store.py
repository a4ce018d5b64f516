"""The store: one process writes what it sees, any number search it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from vedette.errors import StoreError
from vedette.store import opening, queries, retention
from vedette.store.records import Match, Period, Sighting, StoreStats

__all__ = ["Store"]


class Store:
    """What was seen, in one SQLite file.

    Parameters
    ----------
    path
        Of the file; None for :func:`vedette.store.default_path`.
    readonly
        Only search. Any number of processes may, beside the one that writes.
    max_age_s, max_bytes
        What is older goes, and the oldest goes where the file grows larger; None keeps everything.
    timeout_s
        How long to wait for another program that holds the file.

    Attributes
    ----------
    damaged
        Where a damaged file was moved when this store was opened, or None.

    Raises
    ------
    StoreError
        The file cannot be opened; ``reason`` is ``locked``, ``full``, ``readonly``, ``missing`` or
        ``version``.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Store(pathlib.Path(folder.name) / "seen.db") as store:
    ...     with store.transaction():
    ...         _ = store.add(Sighting("screen", "text", "Departure 10:45", at=1000.0))
    ...     [match.text for match in store.search("departure")]
    ['Departure 10:45']
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        readonly: bool = False,
        max_age_s: float | None = None,
        max_bytes: int | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self.path = opening.default_path() if path is None else Path(path).absolute()
        self.readonly = readonly
        self.max_age_s = max_age_s
        self.max_bytes = max_bytes
        self.damaged: Path | None = None
        self._timeout_s = timeout_s
        self._lock = threading.RLock()
        self._sources: dict[str, int] = {}
        self._hours: dict[int, list[int]] = {}
        self._writer: opening.WriterLock | None = None
        if readonly:
            self._connection = opening.connect_reader(self.path, timeout_s)
            return
        self._connection = self._open_for_writing()

    def _open_for_writing(self) -> sqlite3.Connection:
        try:
            try:
                return opening.connect_writer(self.path, self._timeout_s)
            except sqlite3.Error as error:
                if opening.reason_of(error) != "damaged":
                    raise opening.store_error(self.path, error) from error
            except StoreError as error:
                if error.reason != "damaged":
                    raise
            self.damaged = opening.set_aside(self.path)
            return opening.connect_writer(self.path, self._timeout_s)
        except sqlite3.Error as error:
            raise opening.store_error(self.path, error) from error

    def claim(self) -> None:
        """Become the one process that watches into this store; sightings a killed one left open are ended.

        Raises
        ------
        StoreError
            Another process is.
        """
        writer = opening.WriterLock(self.path)
        writer.acquire()
        self._writer = writer
        with self.transaction() as connection:
            connection.execute(
                "UPDATE sightings SET ended = max(began, coalesce((SELECT at FROM alive), began)) "
                "WHERE ended IS NULL"
            )

    @property
    def cache_bytes(self) -> int:
        """Bytes of the file that SQLite keeps in memory at most."""
        with contextlib.suppress(OSError):
            return min(opening.CACHE_BYTES, self.path.stat().st_size)
        return 0

    def begin_anew(self) -> Path:
        """Set the file aside as damaged and begin a new one; returns where the old one lies."""
        with self._lock:
            self._connection.close()
            self._sources.clear()
            self._hours.clear()
            self.damaged = opening.set_aside(self.path)
            self._connection = self._open_for_writing()
            return self.damaged

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything committed is in it."""
        with self._lock:
            if not self.readonly:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("PRAGMA optimize")
            self._connection.close()
            if self._writer is not None:
                self._writer.release()
                self._writer = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all that happens inside, or nothing; when it ends, it is on the disk.

        Raises
        ------
        StoreError
            It could not be written.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._hours.clear()
                try:
                    yield self._connection
                    self._write_hours()
                    self._connection.execute("COMMIT")
                except BaseException:
                    self._sources.clear()
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise opening.store_error(self.path, error) from error

    def add(self, sighting: Sighting, *, thumbnail: int | None = None) -> int:
        """Add a sighting that begins; returns its number. Only inside :meth:`transaction`."""
        box = sighting.box or (None, None, None, None)
        cursor = self._connection.execute(
            "INSERT INTO sightings(source_id, kind, task, text, score, began, frame, "
            "x0, y0, x1, y1, thumbnail_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._source(sighting.source),
                sighting.kind,
                sighting.task,
                sighting.text,
                sighting.score,
                sighting.at,
                sighting.frame,
                *box,
                thumbnail,
            ),
        )
        number = int(cursor.lastrowid or 0)
        bounds = self._hours.setdefault(int(sighting.at // 3600), [number, number])
        bounds[1] = number
        return number

    def end(self, sightings: Iterable[int], at: float) -> None:
        """Note that sightings ended. Only inside :meth:`transaction`."""
        self._connection.executemany(
            "UPDATE sightings SET ended = max(?, began) WHERE id = ?", [(at, number) for number in sightings]
        )

    def add_thumbnail(self, source: str, at: float, size: tuple[int, int], data: bytes) -> int:
        """Add a small image, encoded; returns its number. Only inside :meth:`transaction`."""
        cursor = self._connection.execute(
            "INSERT INTO thumbnails(source_id, at, width, height, data) VALUES (?, ?, ?, ?, ?)",
            (self._source(source), at, size[1], size[0], data),
        )
        return int(cursor.lastrowid or 0)

    def add_incident(self, source: str | None, at: float, kind: str, detail: str) -> None:
        """Add something that happened to the watch itself. Only inside :meth:`transaction`."""
        self._connection.execute(
            "INSERT INTO incidents(source_id, at, kind, detail) VALUES (?, ?, ?, ?)",
            (None if source is None else self._source(source), at, kind, detail),
        )

    def alive(self, at: float) -> None:
        """Note that the watch was running. Only inside :meth:`transaction`."""
        self._connection.execute(
            "INSERT INTO alive VALUES (1, ?) ON CONFLICT(only) DO UPDATE SET at = excluded.at", (at,)
        )

    def search(
        self,
        words: str,
        *,
        since: float | None = None,
        until: float | None = None,
        source: str | None = None,
        kind: str | None = None,
        limit: int = 50,
    ) -> list[Match]:
        """Sightings with all these words, the newest first.

        Parameters
        ----------
        words
            To find, without regard to case and accents; several in quotes are found next to one another, a
            star after a word stands for any ending.
        since, until
            Unix times between which a sighting was there.
        source, kind
            Only of this source, or sources whose name begins with it; only of this kind.
        limit
            Most matches.
        """
        with self._reading() as connection:
            return queries.search(connection, words, since, until, source, kind, limit)

    def timeline(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        source: str | None = None,
        step_s: float = 600,
        texts: int = 3,
    ) -> list[Period]:
        """What was seen, in steps of time, with what went wrong; steps without anything are left out."""
        with self._reading() as connection:
            return queries.timeline(connection, since, until, source, step_s, texts)

    def thumbnail(self, number: int) -> bytes | None:
        """The bytes of a thumbnail, a JPEG file."""
        with self._reading() as connection:
            row = connection.execute("SELECT data FROM thumbnails WHERE id = ?", (number,)).fetchone()
        return None if row is None else bytes(row[0])

    def stats(self) -> StoreStats:
        """Size and content."""
        with self._reading() as connection:
            return queries.stats(connection, self.path)

    def forget(
        self,
        *,
        before: float | None = None,
        match: str | None = None,
        source: str | None = None,
        dry_run: bool = False,
    ) -> int:
        """Remove what was seen before a time, with these words, or at a source; returns how much.

        What several of them name is removed only where all agree. Thumbnails that showed it go too, and the
        file
        is cleaned so that nothing of it can be found in its bytes.

        Raises
        ------
        InputError
            Nothing was named.
        """
        with self._lock:
            try:
                count = retention.forget(self, self._connection, before, match, source, dry_run)
            except sqlite3.Error as error:
                raise opening.store_error(self.path, error) from error
        return count

    def prune(self, now: float | None = None) -> int:
        """Remove what is too old, or the oldest where the file is too large; returns how many sightings."""
        with self._lock:
            try:
                return retention.prune(
                    self,
                    self._connection,
                    time.time() if now is None else now,
                    self.max_age_s,
                    self.max_bytes,
                )
            except sqlite3.Error as error:
                raise opening.store_error(self.path, error) from error

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise opening.store_error(self.path, error) from error

    def _source(self, name: str) -> int:
        if name not in self._sources:
            self._connection.execute("INSERT OR IGNORE INTO sources(name) VALUES (?)", (name,))
            row: Any = self._connection.execute("SELECT id FROM sources WHERE name = ?", (name,)).fetchone()
            self._sources[name] = int(row[0])
        return self._sources[name]

    def _write_hours(self) -> None:
        self._connection.executemany(
            "INSERT INTO hours VALUES (?, ?, ?) ON CONFLICT(hour) DO UPDATE SET "
            "first_id = min(first_id, excluded.first_id), last_id = max(last_id, excluded.last_id)",
            [(hour, first, last) for hour, (first, last) in self._hours.items()],
        )
