"""What an X server tells of its screen: when it changes, and which windows are where (through xcffib)."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vedette.errors import SourceError

__all__ = ["Display", "Window"]

_LONGEST_NAME = 4096
_DEEPEST = 16
_MOST_WAKES = 4096
_BOUNDING_BOX = 2
"""Report level of the Damage extension: the box around what changed since it was last asked."""

_VIEWABLE = 2


@dataclass(frozen=True, slots=True)
class Window:
    """A window that can be seen, with its frame: left, top, width and height on the screen."""

    title: str
    application: str
    place: tuple[int, int, int, int]

    def matches(self, patterns: Sequence[re.Pattern[str]]) -> bool:
        """Whether its title or its application matches any."""
        return any(pattern.search(text) for pattern in patterns for text in (self.title, self.application))


class Display:
    """A connection to the X server of this session.

    Raises
    ------
    SourceError
        xcffib is missing, or there is no server to be reached.
    """

    def __init__(self) -> None:
        try:
            import xcffib
            import xcffib.damage
            import xcffib.xproto
        except (ImportError, OSError) as error:
            raise SourceError(f"this needs xcffib ({error}); pip install 'vedette[screen]'") from error
        self._error: type[Exception] = xcffib.XcffibException
        try:
            self._connection = xcffib.Connection()
        except self._error as error:
            raise SourceError(f"the X server cannot be reached: {error!r}") from error
        self._root = self._connection.get_setup().roots[0].root
        self._property: Any = xcffib.xproto.GetPropertyType.Any
        self._notify: Any = xcffib.damage.NotifyEvent
        self._damage: Any = None
        self._damage_key: Any = xcffib.damage.key
        self._names: dict[str, int] = {}
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)

    def close(self) -> None:
        """Let go of the server."""
        with contextlib.suppress(self._error):
            self._connection.disconnect()
        self._waker.close()
        self._woken.close()

    def tell_changes(self) -> bool:
        """Ask to be told of changes; False where the server does not tell."""
        try:
            extension = self._connection(self._damage_key)
            extension.QueryVersion(1, 1).reply()
            self._damage = self._connection.generate_id()
            extension.CreateChecked(self._damage, self._root, _BOUNDING_BOX).check()
        except self._error:
            self._damage = None
        return self._damage is not None

    def await_change(self, place: tuple[int, int, int, int], timeout_s: float) -> bool:
        """Wait until something within left, top, width, height was drawn.

        False where nothing was in this time, or the wait was interrupted. What was told is not told again.
        """
        end = time.monotonic() + timeout_s
        while True:
            if self._drawn(place):
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            ready, _, _ = select.select([self._connection.get_file_descriptor(), self._woken], [], [], left)
            if self._woken in ready:
                self._woken.recv(_MOST_WAKES)
                return self._drawn(place)

    def interrupt(self) -> None:
        """End a wait, or the next one; any thread and a signal handler may call it."""
        with contextlib.suppress(OSError):
            # It is full where many ask at once, and closed where nobody waits any more.
            self._waker.send(b"!")

    def _drawn(self, place: tuple[int, int, int, int]) -> bool:
        """Whether anything that was told since the last look lies within."""
        told = within = False
        try:
            while (event := self._connection.poll_for_event()) is not None:
                if isinstance(event, self._notify):
                    told = True
                    area = event.area
                    within = within or _overlap((area.x, area.y, area.width, area.height), place)
            if told:
                self._connection(self._damage_key).Subtract(self._damage, 0, 0)
                self._connection.flush()
        except self._error as error:
            raise SourceError(f"the X server is gone: {error!r}", temporary=True) from error
        return within

    def windows(self) -> list[Window]:
        """The windows that can be seen, whole or in part.

        Raises
        ------
        SourceError
            The server does not answer (``temporary``).
        """
        try:
            return self._windows()
        except self._error as error:
            raise SourceError(f"the X server does not tell its windows: {error!r}", temporary=True) from error

    def _windows(self) -> list[Window]:
        core = self._connection.core
        listed = core.GetProperty(
            False, self._root, self._atom("_NET_CLIENT_LIST"), self._property, 0, _LONGEST_NAME
        ).reply()
        # Without a window manager that lists them, those directly on the screen.
        clients = listed.value.to_atoms() if listed.value_len else core.QueryTree(self._root).reply().children
        found = []
        for client in clients:
            # One that was closed meanwhile is no longer seen.
            with contextlib.suppress(*self._window_errors()):
                if core.GetWindowAttributes(client).reply().map_state != _VIEWABLE:
                    continue
                place = core.GetGeometry(self._outermost(client)).reply()
                border = 2 * place.border_width
                box = (place.x, place.y, place.width + border, place.height + border)
                title = self._text(client, "_NET_WM_NAME") or self._text(client, "WM_NAME")
                found.append(Window(title, self._text(client, "WM_CLASS"), box))
        return found

    def _window_errors(self) -> tuple[type[Exception], ...]:
        import xcffib.xproto

        return (xcffib.xproto.WindowError, xcffib.xproto.DrawableError)

    def _outermost(self, window: int) -> int:
        """The frame that a window manager put around a window."""
        for _ in range(_DEEPEST):
            parent = self._connection.core.QueryTree(window).reply().parent
            if parent in (self._root, 0):
                break
            window = parent
        return window

    def _text(self, window: int, name: str) -> str:
        reply = self._connection.core.GetProperty(
            False, window, self._atom(name), self._property, 0, _LONGEST_NAME
        ).reply()
        text: str = reply.value.buf().decode(errors="replace")
        return text.replace("\0", " ").strip()

    def _atom(self, name: str) -> int:
        if name not in self._names:
            reply = self._connection.core.InternAtom(False, len(name), name).reply()
            self._names[name] = int(reply.atom)
        return self._names[name]


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
