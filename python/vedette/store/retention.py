"""What leaves the store: by age, by size, and because it is to be forgotten."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from vedette.errors import InputError
from vedette.store.queries import match_expression, source_ids

if TYPE_CHECKING:
    from vedette.store.store import Store

_PART = 0.05
"""The part of the sightings that goes at once where the file is too large."""

_FREED_PAGES = 2048
"""Pages given back to the system at once: 8 MB, a few milliseconds."""


def prune(
    store: Store, connection: sqlite3.Connection, now: float, max_age_s: float | None, max_bytes: int | None
) -> int:
    """Remove what is too old, then the oldest until the file is small enough."""
    removed = 0
    if max_age_s is not None:
        with store.transaction():
            removed += _remove(connection, "began < ? AND ended IS NOT NULL", (now - max_age_s,))
            connection.execute("DELETE FROM thumbnails WHERE at < ?", (now - max_age_s,))
            connection.execute("DELETE FROM incidents WHERE at < ?", (now - max_age_s,))
    while max_bytes is not None and _used_bytes(connection) > max_bytes:
        low, high = connection.execute("SELECT min(id), max(id) FROM sightings").fetchone()
        (image,) = connection.execute("SELECT max(id) FROM thumbnails").fetchone()
        if low is None and image is None:
            break
        with store.transaction():
            if low is not None:
                border = low + max(1, int((high - low + 1) * _PART))
                removed += _remove(connection, "id < ?", (border,))
            # Images are most of the bytes and least of what a search needs: they go a part earlier than
            # lines.
            connection.execute(
                "DELETE FROM thumbnails WHERE id <= "
                "(SELECT min(id) + (max(id) - min(id)) * ? FROM thumbnails)",
                (2 * _PART,),
            )
    if removed:
        # As a script, which is run to its end: a statement would free a single page.
        connection.executescript(f"PRAGMA incremental_vacuum({_FREED_PAGES})")
    return removed


def forget(
    store: Store,
    connection: sqlite3.Connection,
    before: float | None,
    match: str | None,
    source: str | None,
    dry_run: bool,
) -> int:
    """Remove what all the named conditions describe, and whatever else in the file still shows it."""
    conditions: list[str] = []
    values: list[Any] = []
    if before is not None:
        conditions.append("began < ?")
        values.append(before)
    if match is not None:
        conditions.append("id IN (SELECT rowid FROM search WHERE search MATCH ?)")
        values.append(match_expression(match))
    chosen = source_ids(connection, source)
    if chosen is not None:
        conditions.append(f"source_id IN ({', '.join(map(str, chosen))})")
    if not conditions:
        raise InputError("nothing was named to forget: give a time, words or a source")
    condition = " AND ".join(conditions)
    if dry_run:
        query = f"SELECT count(*) FROM sightings WHERE {condition}"
        return int(connection.execute(query, values).fetchone()[0])
    with store.transaction():
        _forget_thumbnails(connection, condition, values, before, chosen, match)
        removed = _remove(connection, condition, tuple(values))
        if match is None:
            _forget_incidents(connection, before, chosen)
    # Deleted words stay in the index's older segments until they are merged, deleted pages in the log until
    # it is
    # written back, and freed pages in the file until it is cut.
    connection.execute("INSERT INTO search(search) VALUES ('optimize')")
    connection.executescript("PRAGMA incremental_vacuum")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return removed


def _forget_thumbnails(
    connection: sqlite3.Connection,
    condition: str,
    values: list[Any],
    before: float | None,
    chosen: list[int] | None,
    match: str | None,
) -> None:
    """Remove the images taken while any of the sightings was there."""
    connection.execute(
        "DELETE FROM thumbnails WHERE id IN (SELECT thumbnail_id FROM sightings "
        f"WHERE {condition}) OR EXISTS (SELECT 1 FROM "
        "(SELECT source_id AS place, began AS start, ended AS finish "
        f"FROM sightings WHERE {condition}) WHERE place = thumbnails.source_id AND start <= thumbnails.at "
        "AND (finish IS NULL OR finish >= thumbnails.at))",
        [*values, *values],
    )
    if match is None:
        connection.execute(
            "DELETE FROM thumbnails WHERE (? IS NULL OR at < ?)"
            + ("" if chosen is None else f" AND source_id IN ({', '.join(map(str, chosen))})"),
            (before, before),
        )


def _forget_incidents(connection: sqlite3.Connection, before: float | None, chosen: list[int] | None) -> None:
    connection.execute(
        "DELETE FROM incidents WHERE (? IS NULL OR at < ?)"
        + ("" if chosen is None else f" AND source_id IN ({', '.join(map(str, chosen))})"),
        (before, before),
    )


def _remove(connection: sqlite3.Connection, condition: str, values: tuple[Any, ...]) -> int:
    return connection.execute(f"DELETE FROM sightings WHERE {condition}", values).rowcount


def _used_bytes(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * page_bytes)
