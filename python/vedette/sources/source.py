"""What every source of frames can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from types import TracebackType
from typing import Literal, Self

from vedette.sources.frame import Frame

__all__ = ["Source", "SourceEnded"]


class SourceEnded(Exception):  # noqa: N818 - an end is no error
    """There are no more frames."""


class Source(ABC):
    """Frames, one after the other.

    Attributes
    ----------
    name
        As people call it: the path, address or device.
    live
        Whether frames pass whether or not they are read: then the latest counts, else every one.
    comparison
        ``exact`` where equal pictures have equal pixels, ``luma`` where there is noise.
    can_be_peeked
        Whether a live source that does not tell of changes can be looked at for so little that it may be done
        several times a second.
    tells_changes
        Whether a live source that is open tells of changes: :meth:`await_change`.
    dropped
        Frames that passed unread, by cause.
    """

    name: str
    live: bool = False
    can_be_peeked: bool = False
    tells_changes: bool = False
    comparison: Literal["exact", "luma"] = "exact"

    def __init__(self, name: str) -> None:
        self.name = name
        self.dropped: dict[str, int] = {}
        self._reports: deque[tuple[str, str]] = deque(maxlen=100)

    @abstractmethod
    def open(self) -> None:
        """Get ready to read.

        Raises
        ------
        SourceError
            It cannot be opened.
        """

    @abstractmethod
    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, or for a live source the latest; None where there is none in this time.

        Raises
        ------
        SourceEnded
            There are no more.
        SourceError
            The source is lost (``temporary``), or cannot be read at all.
        """

    def close(self) -> None:  # noqa: B027 - many have nothing to give back
        """Give everything back; it can be opened again. Called by the thread that reads."""

    @property
    def waiting(self) -> int:
        """Frames that wait to be read, as far as it knows."""
        return 0

    def skip(self) -> None:  # noqa: B027 - most have none waiting
        """Let go of a frame that waits to be read; called while nobody may look."""

    def await_change(self, timeout_s: float) -> bool:
        """Wait until a live source that tells of changes may show something new.

        False where nothing was in this time, or the wait was interrupted.
        """
        del timeout_s
        return False

    def interrupt(self) -> None:  # noqa: B027 - most do not wait for long
        """End the wait for a change, or the next one; any thread, and a signal handler, may call it."""

    def report(self, kind: str, detail: str) -> None:
        """Leave word of what happened to the source."""
        self._reports.append((kind, detail))

    def take_reports(self) -> list[tuple[str, str]]:
        """What happened to the source since this was last asked."""
        taken = []
        while self._reports:
            taken.append(self._reports.popleft())
        return taken

    def count_dropped(self, cause: str, number: int = 1) -> None:
        """Count frames that passed unread."""
        if number > 0:
            self.dropped[cause] = self.dropped.get(cause, 0) + number

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
