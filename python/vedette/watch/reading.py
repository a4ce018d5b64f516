"""Reading the text of frames: lines that appear, change and go."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from difflib import SequenceMatcher

from vedette.ocr import Change, IncrementalReader, Line, Page
from vedette.ocr.reader import Reader
from vedette.sources.frame import Frame
from vedette.store.records import Box
from vedette.watch.events import Event, Track
from vedette.watch.governor import Step
from vedette.watch.task import Held, Task

__all__ = ["ReadTask"]

REDACTED = "[redacted]"

_ALIKE = 0.5
"""Least likeness (twice the common characters over all of them) of what a line was and became."""


class ReadTask(Task):
    """Reports lines of text.

    Parameters
    ----------
    reader
        What reads.
    incremental
        Whether only what changed is read; else every changed frame is read as a whole, the way back.
    redact
        Patterns; what matches them is replaced before anything leaves the task.
    patience
        Frames a line may be missing before it is gone: none for screens, some for cameras.
    fast
        Gives the reader for when there is too little processor time: the same models in the fastest numbers.
        Asked when it is needed; None to read with the same one whatever there is.
    slice
        Entered around each piece of work: where a budget waits.
    """

    name = "read"

    def __init__(
        self,
        reader: Reader,
        *,
        incremental: bool = True,
        redact: Sequence[str | re.Pattern[str]] = (),
        patience: int = 0,
        fast: Callable[[], Reader] | None = None,
        slice: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._reader = self._usual = reader
        self._fast = fast
        self._incremental = IncrementalReader(reader, slice=slice) if incremental else None
        self._redact = [re.compile(pattern) for pattern in redact]
        self._patience = patience
        self._tracks: dict[int, Track] = {}
        self.page: Page | None = None
        self.redacted_boxes: list[Box] = []

    def use(self, step: Step) -> None:
        """Read in fast numbers, and look for lines at a lower resolution, where the step says so."""
        # What cannot be had leaves everything as it was.
        reader = self._fast() if step.fast and self._fast is not None else self._usual
        self._reader = reader
        self._reader.resolution = step.resolution
        if self._incremental is not None:
            self._incremental.reader = self._reader

    def trim(self) -> None:
        """Forget lines by their pixels and frames by their tiles."""
        if self._incremental is not None:
            self._incremental.trim()

    @property
    def models(self) -> Sequence[Held]:
        """The reader, and the fast one while it is used."""
        return [self._usual] if self._reader is self._usual else [self._usual, self._reader]

    @property
    def cache_bytes(self) -> int:
        """Bytes of lines known by their pixels and frames known by their tiles."""
        return 0 if self._incremental is None else self._incremental.nbytes

    @property
    def incremental(self) -> IncrementalReader | None:
        """What reads only changes, if anything does."""
        return self._incremental

    def reset(self) -> None:
        """Read the next frame as a whole."""
        if self._incremental is not None:
            self._incremental.reset()

    def process(self, source: str, frame: Frame, change: Change | None) -> list[Event]:
        """Read the frame and tell what differs from the lines before."""
        if self._incremental is not None:
            page = self._incremental.read(frame.rgb(), change)
            numbers: Sequence[int] = self._incremental.numbers
        else:
            page = self._reader.read(frame.rgb())
            numbers = range(-1, -len(page.lines) - 1, -1)
        self.page = page
        return self._follow(source, frame, page, numbers)

    def _follow(self, source: str, frame: Frame, page: Page, numbers: Sequence[int]) -> list[Event]:
        events: list[Event] = []
        fresh: dict[int, Track] = {}
        following: dict[int, Track] = {}
        self.redacted_boxes = []
        for number, line in zip(numbers, page.lines, strict=True):
            box = _box(line)
            text = self._clean(line, box)
            known = self._tracks.pop(number, None) if number > 0 else None
            if known is not None and known.text == text:
                known.box, known.missed = box, 0
                following[number] = known
            else:
                fresh[number] = Track(source, self.name, "text", text, frame.at, box, line.score)
        old = list(self._tracks.values())
        for number, track in fresh.items():
            same = [other for other in old if other.text == track.text]
            if same:
                kept = min(same, key=lambda other: _distance(other.box, track.box))
                old.remove(kept)
                kept.box, kept.missed = track.box, 0
                following[number] = kept
        for number, track in fresh.items():
            if number in following:
                continue
            following[number] = track
            before = max(old, key=lambda other: _shared(other.box, track.box), default=None)
            if (
                before is not None
                and _shared(before.box, track.box) > 0.5
                and _alike(before.text, track.text)
            ):
                old.remove(before)
                events.append(Event.of("changed", frame, track, before))
            else:
                events.append(Event.of("appeared", frame, track))
        lost = min((number for number in following if number < 0), default=0) - 1
        for track in old:
            track.missed += 1
            if track.missed > self._patience:
                events.append(Event.of("gone", frame, track))
            else:
                following[lost] = track
                lost -= 1
        self._tracks = following
        return events

    def _clean(self, line: Line, box: Box) -> str:
        text = line.text
        for pattern in self._redact:
            text = pattern.sub(REDACTED, text)
        if text != line.text:
            self.redacted_boxes.append(box)
        return text


def _alike(before: str, after: str) -> bool:
    """Whether one text may have become the other, rather than have been replaced by it."""
    if before in after or after in before:
        return True
    return SequenceMatcher(None, before, after, autojunk=False).ratio() >= _ALIKE


def _box(line: Line) -> Box:
    low, high = line.box.min(axis=0), line.box.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _distance(a: Box | None, b: Box | None) -> float:
    if a is None or b is None:
        return 0.0
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _shared(a: Box | None, b: Box | None) -> float:
    """The part of the smaller box that the other covers."""
    if a is None or b is None:
        return 0.0
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / max(1.0, min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)))
