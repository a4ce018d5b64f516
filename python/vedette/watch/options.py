"""How to watch."""

from __future__ import annotations

from dataclasses import dataclass

from vedette.ocr.change import Rectangle

__all__ = ["WatchOptions"]


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How to watch.

    Attributes
    ----------
    rate
        Frames a second that are taken from a live source, fewer where the governor says so. One that tells of
        changes is looked at when it does, as long as that is not more often for seconds on end, and seldom
        while it tells of none.
    refresh_s
        After so long a frame is processed as a whole even if nothing changed; None for an hour where frames
        are compared exactly and five minutes where they are not.
    peek_s
        A source that can be peeked at but does not tell of changes, as a screen of Windows or macOS, is
        looked at after so long, as if it had told of what is found then; where nothing was found for half a
        minute, as often as ``rate`` says. 0 to do that at all times.
    stall_s
        After so long without a frame, or with one, a source is reported as stalled.
    thumbnail_s
        Least time between two small pictures of a source; None for no pictures.
    exclude
        Rectangles (top, left, bottom, right) of every frame that are painted black before anything looks.
    """

    rate: float = 1.0
    refresh_s: float | None = None
    peek_s: float = 0.2
    stall_s: float = 60.0
    thumbnail_s: float | None = 30.0
    exclude: tuple[Rectangle, ...] = ()
