"""Frames that a program has or makes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vedette.errors import InputError
from vedette.sources.frame import Frame, PixelFormat
from vedette.sources.source import Source, SourceEnded

__all__ = ["Arrays", "Pushed"]


def _planes(pixels: Any, pixel_format: str) -> tuple[NDArray[np.uint8], ...]:
    planes = tuple(pixels) if isinstance(pixels, tuple | list) else (pixels,)
    for plane in planes:
        if not isinstance(plane, np.ndarray) or plane.dtype != np.uint8:
            kind = plane.dtype if isinstance(plane, np.ndarray) else type(plane).__name__
            raise InputError(f"expected a uint8 array of {pixel_format}, got {kind}")
    return planes


class Arrays(Source):
    """Arrays from an iterable, in order.

    Parameters
    ----------
    frames
        Arrays of shape ``(height, width, 3)`` or what ``format`` asks for; tuples of planes for planar
        formats.
    name, format
        Of the source, and of its pixels.
    interval_s
        Time between two of them, where they are a recording.
    comparison
        ``luma`` where they have noise.
    """

    def __init__(
        self,
        frames: Iterable[Any],
        *,
        name: str = "arrays",
        format: PixelFormat = "rgb",
        interval_s: float | None = None,
        comparison: Literal["exact", "luma"] = "exact",
    ) -> None:
        super().__init__(name)
        self.comparison = comparison
        self._frames = frames
        self._format = format
        self._interval_s = interval_s
        self._waiting: Iterator[Any] = iter(())
        self._index = 0

    def open(self) -> None:
        """Begin with the first."""
        self._waiting = iter(self._frames)
        self._index = 0

    def read(self, timeout_s: float) -> Frame | None:
        """The next array."""
        del timeout_s
        try:
            pixels = next(self._waiting)
        except StopIteration:
            raise SourceEnded from None
        position = None if self._interval_s is None else self._index * self._interval_s
        frame = Frame(_planes(pixels, self._format), self._format, self._index, time.time(), position)
        self._index += 1
        return frame


class Pushed(Source):
    """Frames that another thread pushes.

    Parameters
    ----------
    capacity
        Frames that wait at most. A live source drops the oldest beyond it; another lets :meth:`push` wait.
    live
        Whether the latest frame counts, rather than every one.
    """

    def __init__(
        self,
        *,
        name: str = "pushed",
        format: PixelFormat = "rgb",
        capacity: int = 1,
        live: bool = True,
        comparison: Literal["exact", "luma"] = "exact",
    ) -> None:
        super().__init__(name)
        self.live = self.tells_changes = live
        self.comparison = comparison
        self._format = format
        self._capacity = capacity
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._interrupted = False
        self._ended = False
        self._index = 0

    def open(self) -> None:
        """Frames pushed before count too."""

    def push(self, pixels: Any, *, at: float | None = None) -> None:
        """Hand over a frame; its memory belongs to the watch until it was looked at."""
        planes = _planes(pixels, self._format)
        with self._changed:
            if self.live and len(self._frames) >= self._capacity:
                self._frames.popleft()
                self.count_dropped("newer frame came")
            self._changed.wait_for(lambda: len(self._frames) < self._capacity or self._ended)
            self._frames.append(Frame(planes, self._format, self._index, at or time.time()))
            self._index += 1
            self._changed.notify_all()

    def end(self) -> None:
        """There will be no more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._frames) or self._ended, timeout_s)
            if self._frames:
                frame = self._frames.popleft()
                self._changed.notify_all()
                return frame
            if self._ended:
                raise SourceEnded
        return None

    def await_change(self, timeout_s: float) -> bool:
        """Wait until a frame was pushed."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._ended or self._interrupted, timeout_s)
            self._interrupted = False
            return bool(self._frames) or self._ended

    def interrupt(self) -> None:
        """End the wait for a frame."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """Frames that were pushed and not read."""
        return len(self._frames)

    def skip(self) -> None:
        """Drop what waits, where the latest counts."""
        with self._changed:
            if self.live:
                self._frames.clear()

    def close(self) -> None:
        """End the wait of whoever pushes or reads."""
        self.end()
