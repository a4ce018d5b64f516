"""Asking a running watch: a socket that only its owner can open, answered on a thread of its own.

A request is a word, the answer an object of JSON; nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any, Protocol

from vedette.errors import WatchError

__all__ = ["ControlServer", "ask", "running"]

_ANSWER_S = 2.0
_MOST_BYTES = 1 << 16


class _Connection(Protocol):
    """What sockets and Windows pipes have in common."""

    def poll(self, timeout: float | None = 0.0, /) -> bool: ...
    def recv_bytes(self, maxlength: int | None = None, /) -> bytes: ...
    def send_bytes(self, buf: bytes, /) -> None: ...


def _folder() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(base) / f"vedette-{user}"


def _address(pid: int) -> str:
    if sys.platform == "win32":
        return rf"\\.\pipe\vedette-watch-{pid}"
    return str(_folder() / f"watch-{pid}.sock")


class ControlServer:
    """Answers requests with what ``answers`` gives for their word."""

    def __init__(self, answers: dict[str, Callable[[], dict[str, Any]]]) -> None:
        self._answers = answers
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen.

        Raises
        ------
        WatchError
            The socket cannot be made.
        """
        address = _address(os.getpid())
        try:
            if sys.platform != "win32":
                folder = _folder()
                folder.mkdir(mode=0o700, exist_ok=True)
                if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
                    raise WatchError(f"{folder}: it must be this user's alone; set XDG_RUNTIME_DIR")
                Path(address).unlink(missing_ok=True)
            self._listener = Listener(address)
        except OSError as error:
            raise WatchError(f"{address}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._serve, name="answer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        # Whoever waits for a caller is woken by one.
        with contextlib.suppress(OSError, EOFError):
            Client(str(listener.address)).close()
        if self._thread is not None:
            self._thread.join(timeout=_ANSWER_S)
        listener.close()

    def _serve(self) -> None:
        while True:
            listener = self._listener
            if listener is None:
                return
            try:
                with listener.accept() as connection:
                    self._answer(connection)
            except (OSError, EOFError):
                # A caller that went away; so did the listener, where it is being closed.
                if self._listener is None:
                    return
                time.sleep(0.01)

    def _answer(self, connection: _Connection) -> None:
        if not connection.poll(_ANSWER_S):
            return
        word = connection.recv_bytes(_MOST_BYTES).decode(errors="replace")
        answer = self._answers.get(word)
        facts = answer() if answer else {"error": f"unknown request {word!r}"}
        connection.send_bytes(json.dumps(facts).encode())


def ask(pid: int, word: str = "status", timeout_s: float = _ANSWER_S) -> dict[str, Any]:
    """The answer of the watch of this process, and after how long it came: ``response_s``.

    Raises
    ------
    WatchError
        It does not answer.
    """
    start = time.monotonic()
    try:
        with Client(_address(pid)) as connection:
            connection.send_bytes(word.encode())
            if not connection.poll(timeout_s):
                raise WatchError(f"the watch of process {pid} does not answer within {timeout_s:g} s")
            answer: dict[str, Any] = json.loads(connection.recv_bytes(1 << 24))
    except (OSError, EOFError, ValueError) as error:
        raise WatchError(f"no watch of process {pid} can be reached: {error}") from error
    return answer | {"response_s": time.monotonic() - start}


def running() -> list[int]:
    """Processes that watch; what a killed one left behind is removed."""
    if sys.platform == "win32":
        names = [name for name in os.listdir(r"\\.\pipe") if name.startswith("vedette-watch-")]
        return sorted(int(name.rpartition("-")[2]) for name in names)
    found = []
    for path in _folder().glob("watch-*.sock"):
        number = path.stem.rpartition("-")[2]
        if not number.isdecimal():
            continue
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
            continue
        except PermissionError:
            continue
        found.append(int(number))
    return sorted(found)
