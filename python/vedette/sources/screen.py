"""Screens of this machine, through mss (the extra ``screen``)."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.errors import SourceError
from vedette.sources.frame import Frame
from vedette.sources.source import Source
from vedette.sources.x11 import Display, Window

__all__ = ["Screen"]

_REGION = re.compile(r"(\d+),(\d+),(\d+)x(\d+)")


class Screen(Source):
    """A screen or a part of it; each read is what it shows at that moment.

    Parameters
    ----------
    number
        Of the screen, from 1; 0 is all of them together.
    region
        Left, top, width and height within it; None for all of it.
    hidden
        Windows whose title or application one of these matches are black in every frame, with all that their
        rectangle holds; on X11.
    """

    live = True
    can_be_peeked = True

    def __init__(
        self,
        number: int = 1,
        region: tuple[int, int, int, int] | None = None,
        *,
        hidden: Sequence[re.Pattern[str]] = (),
    ) -> None:
        part = "" if region is None else ":{},{},{}x{}".format(*region)
        super().__init__(("screen" if number == 1 else f"screen:{number}") + part)
        self._number = number
        self._region = region
        self._hidden = tuple(hidden)
        self._display: Display | None = None
        self._grabber: Any = None
        self._place: dict[str, int] = {}
        self._index = 0

    @classmethod
    def parse(cls, text: str, *, hidden: Sequence[re.Pattern[str]] = ()) -> Screen:
        """The screen of a name: ``screen``, ``screen:2``, ``screen:0,0,800x600``,
        ``screen:2:0,0,800x600``.
        """
        number, region = 1, None
        for part in text.split(":")[1:]:
            found = _REGION.fullmatch(part)
            if found:
                left, top, width, height = (int(value) for value in found.groups())
                region = (left, top, width, height)
            elif part.isdecimal():
                number = int(part)
            else:
                raise SourceError(f"{text}: expected screen, screen:NUMBER or screen:LEFT,TOP,WIDTHxHEIGHT")
        return cls(number, region, hidden=hidden)

    def open(self) -> None:
        """Find the screen.

        Raises
        ------
        SourceError
            There is none, the system does not let programs see it, or it does not tell which windows to hide.
        """
        if self._hidden and not sys.platform.startswith("linux"):
            raise SourceError(
                f"{self.name}: windows can be excluded on X11 only; exclude parts of the screen (--exclude), "
                "or watch a region without them"
            )
        if sys.platform.startswith("linux"):
            if os.environ.get("WAYLAND_DISPLAY") or os.environ.get("XDG_SESSION_TYPE") == "wayland":
                raise SourceError(
                    f"{self.name}: Wayland does not let programs look at the screen unasked; log into an X11 "
                    "session, or watch a recording, a camera or a folder of screenshots (with --follow)"
                )
            if not os.environ.get("DISPLAY"):
                raise SourceError(f"{self.name}: there is no display ($DISPLAY is not set)")
        try:
            import mss
        except ImportError as error:
            raise SourceError(f"screens need mss ({error}); pip install 'vedette[screen]'") from error
        try:
            self._grabber = mss.MSS() if hasattr(mss, "MSS") else mss.mss()
            monitors = self._grabber.monitors
        except mss.ScreenShotError as error:
            raise SourceError(f"{self.name}: {error}") from error
        if self._number >= len(monitors):
            raise SourceError(f"{self.name}: there are {len(monitors) - 1} screens")
        whole = monitors[self._number]
        left, top, width, height = self._region or (0, 0, whole["width"], whole["height"])
        if left + width > whole["width"] or top + height > whole["height"] or width * height == 0:
            raise SourceError(
                f"{self.name}: the screen has {whole['width']}x{whole['height']} pixels, "
                f"which does not hold {width}x{height} from {left},{top} on"
            )
        self._place = {
            "left": whole["left"] + left,
            "top": whole["top"] + top,
            "width": width,
            "height": height,
        }
        if sys.platform.startswith("linux"):
            self._meet_display()

    def _meet_display(self) -> None:
        """Learn from the X server when the screen changes and where windows are."""
        try:
            self._display = Display()
        except SourceError as error:
            if self._hidden:
                raise SourceError(f"{self.name}: windows cannot be excluded: {error}") from error
            return
        self.tells_changes = self._display.tell_changes()
        if not self.tells_changes and not self._hidden:
            self._display.close()
            self._display = None

    def await_change(self, timeout_s: float) -> bool:
        """Wait until the X server has drawn there."""
        if self._display is None or not self.tells_changes:
            return False
        place = self._place
        return self._display.await_change(
            (place["left"], place["top"], place["width"], place["height"]), timeout_s
        )

    def read(self, timeout_s: float) -> Frame | None:
        """What the screen shows now."""
        del timeout_s
        import mss

        # What was told until now is in the picture that is taken now.
        self.await_change(0.0)
        # One that moves while the picture is taken is black where it was and where it is.
        hidden = self._hidden_windows()
        try:
            shot = self._grabber.grab(self._place)
        except mss.ScreenShotError as error:
            # As when its resolution was changed, or it was unplugged.
            raise SourceError(f"{self.name}: {error}", temporary=True) from error
        pixels = np.frombuffer(shot.raw, np.uint8).reshape(shot.height, shot.width, 4)
        if self._hidden:
            pixels = self._without(pixels, [*hidden, *self._hidden_windows()])
        frame = Frame((pixels,), "bgra", self._index, time.time())
        self._index += 1
        return frame

    def interrupt(self) -> None:
        """End the wait for the X server."""
        display = self._display
        if display is not None:
            display.interrupt()

    def _hidden_windows(self) -> list[Window]:
        if not self._hidden or self._display is None:
            return []
        return [window for window in self._display.windows() if window.matches(self._hidden)]

    def _without(self, pixels: NDArray[np.uint8], windows: Sequence[Window]) -> NDArray[np.uint8]:
        """The picture with these windows black."""
        if windows and not pixels.flags.writeable:
            pixels = pixels.copy()
        for window in windows:
            left, top, width, height = window.place
            left, top = left - self._place["left"], top - self._place["top"]
            pixels[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)] = 0
        return pixels

    def close(self) -> None:
        """Let go of the display."""
        display, self._display = self._display, None
        self.tells_changes = False
        if display is not None:
            display.close()
        grabber, self._grabber = self._grabber, None
        if grabber is not None:
            grabber.close()
