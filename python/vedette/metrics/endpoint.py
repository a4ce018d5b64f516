"""A local endpoint where another process of the same user reads the metrics of this one."""

from __future__ import annotations

import atexit
import contextlib
import hmac
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from vedette import hub
from vedette.errors import VedetteError
from vedette.metrics.registry import Family, Registry, registry, to_json

__all__ = ["Endpoint", "Process", "folder", "processes", "serve"]

_MAX_REQUEST = 8192
_TIMEOUT_S = 2.0


class Endpoint:
    """Answers ``GET /metrics.json`` and ``GET /metrics`` on the loopback interface until it is closed.

    Its port and a secret stand in a file that only this user may read (``Process.file``); requests without
    the secret are refused. Its thread sleeps in the system until somebody asks.
    """

    def __init__(self, *, port: int = 0, name: str | None = None, source: Registry | None = None) -> None:
        self._source = source or registry()
        self._token = secrets.token_urlsafe(24)
        self._closed = False
        self._began = time.time()
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.name = name or Path(sys.argv[0] or "python").name
        self.file = folder() / f"{os.getpid()}.json"
        self._write_file()
        self._thread = threading.Thread(target=self._answer_all, name="vedette-metrics", daemon=True)
        self._thread.start()

    def _write_file(self) -> None:
        facts = {"pid": os.getpid(), "name": self.name, "port": self.port, "token": self._token}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.unlink(missing_ok=True)
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(facts, file)

    @property
    def token(self) -> str:
        """What a request must carry: ``Authorization: Bearer TOKEN``."""
        return self._token

    def close(self) -> None:
        """Answer no more."""
        if self._closed:
            return
        self._closed = True
        self.file.unlink(missing_ok=True)
        # A thread in accept() is woken by a caller on every system, and by nothing else on some.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), _TIMEOUT_S):
            pass
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer_all(self) -> None:
        while not self._closed:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            with caller, contextlib.suppress(OSError):
                caller.settimeout(_TIMEOUT_S)
                self._answer(caller)

    def _answer(self, caller: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = caller.recv(4096)
            request += piece
            if not piece or len(request) > _MAX_REQUEST:
                return
        line, _, headers = request.partition(b"\r\n")
        words = line.split(b" ")
        sent = next(
            (
                value.strip()
                for name, _, value in (header.partition(b":") for header in headers.split(b"\r\n"))
                if name.strip().lower() == b"authorization"
            ),
            b"",
        )
        if not hmac.compare_digest(sent, b"Bearer " + self._token.encode()):
            status, kind, body = "401 Unauthorized", "text/plain", "send the token of the file in run/\n"
        elif len(words) != 3 or words[0] != b"GET":
            status, kind, body = "405 Method Not Allowed", "text/plain", "only GET is answered\n"
        else:
            status, kind, body = self._page(words[1].decode("latin-1"))
        content = body.encode()
        head = f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n"
        caller.sendall(head.encode() + content)

    def _page(self, path: str) -> tuple[str, str, str]:
        try:
            if path == "/metrics.json":
                facts = {
                    "pid": os.getpid(),
                    "name": self.name,
                    "age_s": time.time() - self._began,
                    "families": to_json([*_process_families(), *self._source.collect()]),
                }
                return "200 OK", "application/json", json.dumps(facts)
            if path == "/metrics":
                from vedette.metrics.prometheus import exposition

                return "200 OK", "text/plain; version=0.0.4", exposition(self._source)
        except VedetteError as error:
            return "501 Not Implemented", "text/plain", f"{error}\n"
        except Exception as error:
            # One source that cannot tell must not end the endpoint.
            return "500 Internal Server Error", "text/plain", f"{type(error).__name__}: {error}\n"
        return "404 Not Found", "text/plain", "there are /metrics and /metrics.json\n"


@dataclass(frozen=True)
class Process:
    """A process that answers."""

    pid: int
    name: str
    port: int
    token: str
    file: Path

    def read(self) -> dict[str, Any]:
        """Its metrics now: ``pid``, ``name``, ``age_s`` and ``families``.

        Raises
        ------
        VedetteError
            It does not answer.
        """
        from http.client import HTTPConnection, HTTPException

        connection = HTTPConnection("127.0.0.1", self.port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", "/metrics.json", headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise VedetteError(f"process {self.pid} answers {answer.status}: {body.decode().strip()}")
            facts: dict[str, Any] = json.loads(body)
            return facts
        except (OSError, HTTPException, ValueError) as error:
            raise VedetteError(f"process {self.pid} ({self.name}) does not answer: {error}") from error
        finally:
            connection.close()


def serve(*, port: int = 0, name: str | None = None) -> Endpoint:
    """Let other processes of this user read the metrics of this one, as ``vedette top`` does.

    Parameters
    ----------
    port
        Where to answer on the loopback interface; any free one unless given.
    name
        What the process is called; that of its program unless given.

    Raises
    ------
    OSError
        The port is taken, or the file cannot be written.
    """
    endpoint = Endpoint(port=port, name=name)
    atexit.register(endpoint.close)
    return endpoint


def processes() -> Iterator[Process]:
    """The processes of this user that answer; files of those that have ended are removed."""
    for file in sorted(folder().glob("*.json")):
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            found = Process(int(facts["pid"]), str(facts["name"]), int(facts["port"]), facts["token"], file)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if _is_alive(found.pid):
            yield found
        else:
            file.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":
        # There a signal would end it; whoever reads finds out.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def folder() -> Path:
    """Where processes that answer leave word of it."""
    return hub.home() / "run"


def _process_families() -> Iterator[Family]:
    yield Family("vedette_process_cpu_seconds_total", "counter", "CPU time of all threads").add(
        time.process_time()
    )
    from vedette.runtime.resident import resident_bytes

    resident = resident_bytes()
    if resident is not None:
        yield Family("vedette_process_resident_bytes", "gauge", "physical memory").add(float(resident))
