"""Image files: a list of them, or a folder that grows."""

from __future__ import annotations

import glob
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from vedette import image
from vedette.errors import ImageError, SourceError
from vedette.sources.frame import Frame
from vedette.sources.source import Source, SourceEnded

__all__ = ["Folder", "Images"]

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

_POLL_S = 0.5
_SETTLED_S = 0.2
"""A file that was not written to for so long is taken to be whole."""


def natural_order(path: Path) -> tuple[tuple[int, int | str], ...]:
    """By name, numbers in it by their value: frame-9 before frame-10."""
    parts = re.split(r"(\d+)", str(path))
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts)


class Images(Source):
    """Image files in the order given; those that cannot be read are told of and counted: ``corrupt``.

    Parameters
    ----------
    paths
        The files, or patterns of them (``frames/*.png``).
    name
        Of the source.
    interval_s
        Time between two of them in the recording that they are; None where they are none.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        name: str = "images",
        interval_s: float | None = None,
    ) -> None:
        super().__init__(name)
        self._given = [str(path) for path in paths]
        self._interval_s = interval_s
        self._waiting: deque[Path] = deque()
        self._index = 0

    def open(self) -> None:
        """Find the files."""
        found: list[Path] = []
        for given in self._given:
            if glob.has_magic(given) and not Path(given).exists():
                found += sorted(map(Path, glob.glob(given, recursive=True)), key=natural_order)
            else:
                found.append(Path(given))
        if not found:
            raise SourceError(f"{self.name}: no files there")
        self._waiting = deque(found)
        self._index = 0

    def read(self, timeout_s: float) -> Frame | None:
        """The next image that can be decoded."""
        del timeout_s
        while self._waiting:
            frame = self._load(self._waiting.popleft())
            if frame is not None:
                return frame
        raise SourceEnded

    @property
    def waiting(self) -> int:
        """Files that were found and not read."""
        return len(self._waiting)

    def _load(self, path: Path) -> Frame | None:
        number = self._index
        self._index += 1
        try:
            pixels = image.load(path)
        except ImageError as error:
            self.count_dropped("corrupt")
            self.report("corrupt", str(error))
            return None
        position = None if self._interval_s is None else number * self._interval_s
        return Frame((pixels,), "rgb", number, time.time(), position, path.name)


class Folder(Images):
    """The images of a folder in the order of their names, and those that are put there later.

    Parameters
    ----------
    path
        The folder.
    follow
        Whether to wait for more; else it ends with the last.
    interval_s
        As for :class:`Images`.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, follow: bool = False, interval_s: float | None = None
    ) -> None:
        super().__init__((), name=str(path), interval_s=interval_s)
        self._path = Path(path)
        self._follow = follow
        self._known: set[str] = set()
        self._closed = threading.Event()

    def open(self) -> None:
        """Look into the folder."""
        self._known.clear()
        self._waiting.clear()
        self._closed.clear()
        self._index = 0
        self._look()
        if not self._waiting and not self._follow:
            raise SourceError(f"{self.name}: no images in this folder; --follow waits for some")

    def close(self) -> None:
        """End a wait."""
        self._closed.set()

    def read(self, timeout_s: float) -> Frame | None:
        """The next image; None where none came in time."""
        end = time.monotonic() + timeout_s
        while True:
            while self._waiting:
                frame = self._load(self._waiting.popleft())
                if frame is not None:
                    return frame
            if not self._follow:
                raise SourceEnded
            left = end - time.monotonic()
            if left <= 0 or self._closed.wait(min(_POLL_S, left)):
                return None
            self._look()

    def _look(self) -> None:
        """Queue the files not seen yet that nobody is writing any more."""
        fresh = []
        try:
            with os.scandir(self._path) as entries:
                for entry in entries:
                    if entry.name in self._known or Path(entry.name).suffix.lower() not in SUFFIXES:
                        continue
                    if self._follow and time.time() - entry.stat().st_mtime < _SETTLED_S:
                        continue
                    self._known.add(entry.name)
                    fresh.append(Path(entry.path))
        except OSError as error:
            raise SourceError(f"{self.name}: {error.strerror}", temporary=bool(self._known)) from error
        self._waiting.extend(sorted(fresh, key=natural_order))
