"""Searching the store and laying out its timeline."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

from vedette.errors import InputError
from vedette.store.records import Match, Period, StoreStats
from vedette.store.schema import version_of, words_of

_TERM = re.compile(r'"([^"]*)"?|(\S+)')


def match_expression(words: str) -> str:
    """The words of a person as an expression of FTS5; none of its own syntax passes through.

    Raises
    ------
    InputError
        There is no word in it.
    """
    terms = []
    for phrase, word in _TERM.findall(words):
        text = words_of(phrase or word.rstrip("*")).replace('"', " ").strip()
        if not any(character.isalnum() for character in text):
            continue
        terms.append(f'"{text}"' + ("*" if word.endswith("*") else ""))
    if not terms:
        raise InputError(f"expected words to search for, got {words!r}")
    return " AND ".join(f"text : {term}" for term in terms)


def source_ids(connection: sqlite3.Connection, source: str | None) -> list[int] | None:
    """Numbers of the sources whose name is or begins with this; None for all."""
    if source is None:
        return None
    rows = connection.execute("SELECT id, name FROM sources").fetchall()
    exact = [number for number, name in rows if name == source]
    return exact or [number for number, name in rows if name.startswith(source)]


def number_bounds(
    connection: sqlite3.Connection, since: float | None, until: float | None
) -> tuple[int, int]:
    """Numbers between which everything lies that began between two times."""
    row = connection.execute(
        "SELECT coalesce(min(first_id), 1), coalesce(max(last_id), 0) FROM hours "
        "WHERE hour >= ? AND hour <= ?",
        (
            -(1 << 60) if since is None else int(since // 3600),
            1 << 60 if until is None else int(until // 3600),
        ),
    ).fetchone()
    return int(row[0]), int(row[1])


_COLUMNS = (
    "s.id, o.name, s.kind, s.text, s.began, s.ended, s.x0, s.y0, s.x1, s.y1, s.score, s.task, s.thumbnail_id"
)


def search(
    connection: sqlite3.Connection,
    words: str,
    since: float | None,
    until: float | None,
    source: str | None,
    kind: str | None,
    limit: int,
) -> list[Match]:
    """The newest sightings with these words."""
    expression = match_expression(words)
    chosen = source_ids(connection, source)
    if chosen is not None:
        if not chosen:
            return []
        origins = " OR ".join(f'"s{number}"' for number in chosen)
        expression = f"({expression}) AND origin : ({origins})"
    # What began before `since` may still have been there; it is found among what had not ended by then.
    low, high = number_bounds(connection, since, until)
    found = _search_numbers(connection, expression, low, high, since, until, kind, limit)
    if since is not None and len(found) < limit:
        earlier = _search_numbers(connection, expression, 1, low - 1, since, until, kind, limit - len(found))
        found += earlier
    return found


def _search_numbers(
    connection: sqlite3.Connection,
    expression: str,
    low: int,
    high: int,
    since: float | None,
    until: float | None,
    kind: str | None,
    limit: int,
) -> list[Match]:
    if high < low:
        return []
    # The cross join keeps the index of words outermost: it yields numbers in falling order, so that the
    # limit ends
    # the search early.
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM search f CROSS JOIN sightings s ON s.id = f.rowid "
        "CROSS JOIN sources o ON o.id = s.source_id "
        "WHERE search MATCH ? AND f.rowid BETWEEN ? AND ? "
        "AND (? IS NULL OR s.ended IS NULL OR s.ended >= ?) AND (? IS NULL OR s.began <= ?) "
        "AND (? IS NULL OR s.kind = ?) ORDER BY f.rowid DESC LIMIT ?",
        (expression, low, high, since, since, until, until, kind, kind, limit),
    )
    return [_match(row) for row in rows]


def _match(row: Any) -> Match:
    number, source, kind, text, began, ended, x0, y0, x1, y1, score, task, thumbnail = row
    box = None if x0 is None else (x0, y0, x1, y1)
    return Match(number, source, kind, text, began, ended, box, score, task, thumbnail)


def timeline(
    connection: sqlite3.Connection,
    since: float | None,
    until: float | None,
    source: str | None,
    step_s: float,
    texts: int,
) -> list[Period]:
    """Sightings and incidents by source and step of time."""
    if not step_s >= 1:
        raise InputError(f"expected a step of at least 1 second, got {step_s}")
    chosen = source_ids(connection, source)
    low, high = number_bounds(connection, since, until)
    counts: dict[tuple[int, str], int] = defaultdict(int)
    longest: dict[tuple[int, str], list[str]] = defaultdict(list)
    rows = connection.execute(
        "SELECT CAST(s.began / ? AS INTEGER), o.name, s.source_id, s.text FROM sightings s "
        "JOIN sources o ON o.id = s.source_id WHERE s.id BETWEEN ? AND ? "
        "AND (? IS NULL OR s.began >= ?) AND (? IS NULL OR s.began <= ?)",
        (step_s, low, high, since, since, until, until),
    )
    for step, name, number, text in rows:
        if chosen is not None and number not in chosen:
            continue
        key = (step, name)
        counts[key] += 1
        kept = longest[key]
        if text not in kept:
            kept.append(text)
            kept.sort(key=len, reverse=True)
            del kept[texts:]
    incidents: dict[tuple[int, str], list[str]] = defaultdict(list)
    rows = connection.execute(
        "SELECT CAST(i.at / ? AS INTEGER), coalesce(o.name, ''), i.source_id, i.kind, i.detail "
        "FROM incidents i LEFT JOIN sources o ON o.id = i.source_id "
        "WHERE (? IS NULL OR i.at >= ?) AND (? IS NULL OR i.at <= ?)",
        (step_s, since, since, until, until),
    )
    for step, name, number, kind, detail in rows:
        if chosen is None or number is None or number in chosen:
            incidents[step, name].append(f"{kind}: {detail}" if detail else kind)
    return [
        Period(
            name,
            step * step_s,
            (step + 1) * step_s,
            counts.get((step, name), 0),
            tuple(longest.get((step, name), ())),
            tuple(incidents.get((step, name), ())),
        )
        for step, name in sorted({*counts, *incidents})
    ]


def stats(connection: sqlite3.Connection, path: Path) -> StoreStats:
    """Size and content of a store."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    count, oldest, newest = connection.execute(
        "SELECT count(*), min(began), max(began) FROM sightings"
    ).fetchone()
    (thumbnails,) = connection.execute("SELECT count(*) FROM thumbnails").fetchone()
    log = path.with_name(path.name + "-wal")
    return StoreStats(
        str(path),
        pages * page_bytes,
        log.stat().st_size if log.exists() else 0,
        count,
        thumbnails,
        oldest,
        newest,
        version_of(connection),
    )
