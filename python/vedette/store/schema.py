"""The tables, and how older ones become these.

A migration is never changed once it has been released; a new one is added at the end. The number of those a
file
has gone through stands in its ``user_version``.
"""

from __future__ import annotations

import re
import sqlite3

APPLICATION_ID = 0x56444554
"""``VDET`` in the file's header."""

_UNSPACED = re.compile(r"([\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f])")


def words_of(text: str) -> str:
    """The text as the index takes it: scripts written without spaces are indexed by character."""
    return text if text.isascii() else _UNSPACED.sub(r" \1 ", text)


MIGRATIONS = (
    """
    CREATE TABLE sources (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    );
    CREATE TABLE thumbnails (
        id INTEGER PRIMARY KEY,
        source_id INTEGER NOT NULL REFERENCES sources(id),
        at REAL NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        data BLOB NOT NULL
    );
    CREATE INDEX thumbnails_at ON thumbnails(at);
    CREATE TABLE sightings (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        source_id INTEGER NOT NULL REFERENCES sources(id),
        kind TEXT NOT NULL,
        task TEXT NOT NULL,
        text TEXT NOT NULL,
        score REAL NOT NULL,
        began REAL NOT NULL,
        ended REAL,
        frame INTEGER NOT NULL,
        x0 REAL, y0 REAL, x1 REAL, y1 REAL,
        thumbnail_id INTEGER
    );
    CREATE INDEX sightings_began ON sightings(began);
    CREATE INDEX sightings_open ON sightings(id) WHERE ended IS NULL;
    CREATE VIEW sighting_words AS
        SELECT id, vedette_words(text) AS text, 's' || source_id AS origin FROM sightings;
    CREATE VIRTUAL TABLE search USING fts5(
        text, origin, content='sighting_words', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
    );
    CREATE TRIGGER sightings_added AFTER INSERT ON sightings BEGIN
        INSERT INTO search(rowid, text, origin)
            VALUES (new.id, vedette_words(new.text), 's' || new.source_id);
    END;
    CREATE TRIGGER sightings_removed AFTER DELETE ON sightings BEGIN
        INSERT INTO search(search, rowid, text, origin)
            VALUES ('delete', old.id, vedette_words(old.text), 's' || old.source_id);
    END;
    CREATE TABLE incidents (
        id INTEGER PRIMARY KEY,
        source_id INTEGER REFERENCES sources(id),
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        detail TEXT NOT NULL
    );
    CREATE INDEX incidents_at ON incidents(at);
    CREATE TABLE alive (only INTEGER PRIMARY KEY CHECK (only = 1), at REAL NOT NULL);
    """,
    # Bounds of the numbers given in an hour turn a time into a range of the index, however large the table.
    """
    CREATE TABLE hours (
        hour INTEGER PRIMARY KEY,
        first_id INTEGER NOT NULL,
        last_id INTEGER NOT NULL
    );
    INSERT INTO hours
        SELECT CAST(began / 3600 AS INTEGER), min(id), max(id) FROM sightings GROUP BY 1;
    """,
)

VERSION = len(MIGRATIONS)


def prepare(connection: sqlite3.Connection) -> None:
    """Register the functions that the schema calls."""
    connection.create_function("vedette_words", 1, words_of, deterministic=True)


def version_of(connection: sqlite3.Connection) -> int:
    """How many migrations a file has gone through."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file up to this version, each step whole or not at all."""
    for number in range(version_of(connection), VERSION):
        connection.executescript(
            f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {number + 1}; COMMIT;"
        )
