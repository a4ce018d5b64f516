"""Opening a store: where it lies, who may write, and what happens to a damaged file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import IO

from vedette.errors import StoreError
from vedette.store import schema

PAGE_BYTES = 4096
CACHE_BYTES = 1 << 20

_QUICK_CHECK_BYTES = 64 << 20
"""Files up to this size are checked whole when they are opened for writing; it takes a fraction of a
second.
"""


def default_path() -> Path:
    """``$VEDETTE_STORE``, else ``seen.db`` in the platform's folder for the data of applications."""
    chosen = os.environ.get("VEDETTE_STORE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        named = os.environ.get("XDG_DATA_HOME", "")
        data = Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "share"
    return data / "vedette" / "seen.db"


def reason_of(error: sqlite3.Error) -> str:
    """What an error of SQLite means: ``locked``, ``full``, ``readonly``, ``damaged``, ``missing`` or
    ``failed``.
    """
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return {
        sqlite3.SQLITE_BUSY: "locked",
        sqlite3.SQLITE_LOCKED: "locked",
        sqlite3.SQLITE_FULL: "full",
        sqlite3.SQLITE_IOERR: "full",
        sqlite3.SQLITE_READONLY: "readonly",
        sqlite3.SQLITE_PERM: "readonly",
        sqlite3.SQLITE_CORRUPT: "damaged",
        sqlite3.SQLITE_NOTADB: "damaged",
        sqlite3.SQLITE_CANTOPEN: "missing",
    }.get(code, "failed")


_WHAT_TO_DO = {
    "locked": "another program holds it; it is tried again",
    "full": "the disk is full or failing; free some space",
    "readonly": "it cannot be written; see to its permissions, or name another with --store",
    "damaged": "the file is damaged",
    "missing": "it cannot be opened; see that its folder exists and can be written",
    "failed": "SQLite refused",
}


def store_error(path: Path, error: sqlite3.Error) -> StoreError:
    """An error of SQLite as one of the store's."""
    reason = reason_of(error)
    return StoreError(f"{path}: {_WHAT_TO_DO[reason]} ({error})", reason=reason)


def connect_writer(path: Path, timeout_s: float) -> sqlite3.Connection:
    """A connection that may write, to a file that is sound and of this version; made where it is missing.

    Raises
    ------
    sqlite3.Error, StoreError
        It cannot be opened; where it is damaged, the caller sets it aside.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Made before SQLite opens it, so that it is never anybody else's to read; its log and index inherit
        # the mode.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        reason = "full" if error.errno == 28 else "readonly"
        raise StoreError(f"{path}: {_WHAT_TO_DO[reason]} ({error.strerror})", reason=reason) from error
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, 0o600)
    os.close(descriptor)
    connection = _connect(path, timeout_s)
    try:
        if schema.version_of(connection) == 0 and path.stat().st_size == 0:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        _refuse_newer(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit is on the disk when it returns: what was acknowledged survives a loss of power.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        # A cache that fills for days looks like a leak, and the system caches the file anyway.
        connection.execute(f"PRAGMA cache_size = {-CACHE_BYTES // 1024}")
        # What is forgotten is overwritten, not only unlinked.
        connection.execute("PRAGMA secure_delete = ON")
        if path.stat().st_size <= _QUICK_CHECK_BYTES:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise StoreError(f"{path}: {_WHAT_TO_DO['damaged']} ({verdict})", reason="damaged")
        schema.migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path, timeout_s: float) -> sqlite3.Connection:
    """A connection that only reads, beside whoever writes."""
    if not path.exists():
        raise StoreError(f"{path}: there is no store; `vedette watch` makes one", reason="missing")
    try:
        connection = _connect(path, timeout_s, readonly=True)
    except sqlite3.Error as error:
        raise store_error(path, error) from error
    try:
        version = schema.version_of(connection)
        _refuse_newer(connection, path)
        if version < schema.VERSION:
            raise StoreError(
                f"{path}: version {version} of the tables is older than this Vedette's {schema.VERSION}; "
                "the next `vedette watch` brings it up to date",
                reason="version",
            )
    except sqlite3.Error as error:
        connection.close()
        raise store_error(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, timeout_s: float, *, readonly: bool = False) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rw'}"
    connection = sqlite3.connect(
        address, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )
    schema.prepare(connection)
    return connection


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    version = schema.version_of(connection)
    if version > schema.VERSION:
        raise StoreError(
            f"{path}: version {version} of the tables is newer than this Vedette's {schema.VERSION}; update "
            "Vedette, or name another file with --store",
            reason="version",
        )


def set_aside(path: Path) -> Path:
    """Rename a damaged file, with its log, so that a new one can be begun; returns the new name."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    os.replace(path, target)
    for suffix in ("-wal", "-shm"):
        side = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            os.replace(side, target.with_name(target.name + suffix))
    return target


class WriterLock:
    """The right to write, held by one process for as long as it watches; the system takes it back when it
    dies.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".writer")
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take it.

        Raises
        ------
        StoreError
            Another process has it.
        """
        file: IO[str] | None = None
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            file = os.fdopen(descriptor, "r+")
            _lock(file)
        except OSError as error:
            holder = ""
            if file is not None:
                with contextlib.suppress(OSError):
                    holder = file.read().strip()
                file.close()
            if isinstance(error, BlockingIOError | PermissionError) and holder:
                raise StoreError(
                    f"{self._path}: process {holder} writes this store already; stop it, or name another "
                    "file with --store",
                    reason="locked",
                ) from None
            raise StoreError(f"{self._path}: {error.strerror}", reason="readonly") from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give it back."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        # A byte far behind the number of the process, which others may read.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
