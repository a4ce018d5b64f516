"""Screens of this machine, through mss (the extra ``screen``)."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import Any

import numpy as np

from vedette.errors import SourceError
from vedette.sources.frame import Frame
from vedette.sources.source import Source

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
    """

    live = True

    def __init__(self, number: int = 1, region: tuple[int, int, int, int] | None = None) -> None:
        part = "" if region is None else ":{},{},{}x{}".format(*region)
        super().__init__(("screen" if number == 1 else f"screen:{number}") + part)
        self._number = number
        self._region = region
        self._grabber: Any = None
        self._place: dict[str, int] = {}
        self._index = 0

    @classmethod
    def parse(cls, text: str) -> Screen:
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
        return cls(number, region)

    def open(self) -> None:
        """Find the screen.

        Raises
        ------
        SourceError
            There is none, or the system does not let programs see it.
        """
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

    def read(self, timeout_s: float) -> Frame | None:
        """What the screen shows now."""
        del timeout_s
        import mss

        try:
            shot = self._grabber.grab(self._place)
        except mss.ScreenShotError as error:
            # As when its resolution was changed, or it was unplugged.
            raise SourceError(f"{self.name}: {error}", temporary=True) from error
        pixels = np.frombuffer(shot.raw, np.uint8).reshape(shot.height, shot.width, 4)
        frame = Frame((pixels,), "bgra", self._index, time.time())
        self._index += 1
        return frame

    def close(self) -> None:
        """Let go of the display."""
        grabber, self._grabber = self._grabber, None
        if grabber is not None:
            grabber.close()
