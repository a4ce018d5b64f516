"""Reading a sequence of frames: what has not changed is not read again, and the page is that of a full
read.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vedette.ocr.change import Change, Offset, Rectangle
from vedette.ocr.geometry import Quads
from vedette.ocr.memory import TILE, FrameMemory, LineCache, key_of
from vedette.ocr.page import Line, Page
from vedette.ocr.reader import Reader
from vedette.ocr.recogniser import Reading
from vedette.ocr.regions import (
    any_in,
    area,
    grown,
    merged,
    overlap,
    stepped,
    sums_of,
    tiles_to_boxes,
    with_ink,
)

__all__ = ["IncrementalReader", "ReadingCounts"]

_NEAR = 1.5
"""A line this many of its heights from a change is looked at again: what is written there may belong to
it.
"""

_CONTEXT = 48
"""Pixels around a change that the detector sees too."""

_WHOLE = 0.5
"""Where regions come to this part of the frame, it is read as a whole."""

_RECALLED = 0.5
"""Frames remembered are looked through where at least this part of the frame is new."""

_GROWTH = 256
"""Pixels by which a region grows where it cuts a line."""

_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class _Known:
    """A line of the frame read last; ``number`` stays while it is the same line, wherever it moves."""

    quad: Quads
    box: Rectangle
    reading: Reading
    number: int

    def moved(self, offset: Offset) -> _Known:
        down, across = offset
        top, left, bottom, right = self.box
        return _Known(
            self.quad + np.array([across, down], np.float32),
            (top + down, left + across, bottom + down, right + across),
            self.reading,
            self.number,
        )


@dataclass(slots=True)
class ReadingCounts:
    """What was done for the frames read so far.

    Attributes
    ----------
    frames, whole
        Frames, and those of them in which the detector saw everything.
    detected_pixels
        Pixels the detector saw.
    recognised, cached, kept, moved
        Lines recognised, known by their pixels, left where they stood, and moved along.
    """

    frames: int = 0
    whole: int = 0
    detected_pixels: int = 0
    recognised: int = 0
    cached: int = 0
    kept: int = 0
    moved: int = 0


class IncrementalReader:
    """Reads frames of a sequence.

    Parameters
    ----------
    reader
        What finds and recognises lines.
    cache_lines
        Lines known by their pixels at most.
    remember_frames
        Frames known again by the hashes of their tiles at most.
    slice
        Entered around each piece of work, none longer than detection of a frame: where a budget waits.

    Attributes
    ----------
    reader
        What finds and recognises lines from the next frame on.
    counts
        What was done so far.
    numbers
        For each line of the page read last a number that it keeps while it is the same line.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        cache_lines: int = 8192,
        remember_frames: int = 16,
        slice: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.reader = reader
        self._slice = slice
        self._cache = LineCache(cache_lines)
        self._memory: FrameMemory[_Known] = FrameMemory(remember_frames)
        self._lines: list[_Known] = []
        self._shape: tuple[int, ...] | None = None
        self._numbers = itertools.count(1)
        self._moved: frozenset[int] = frozenset()
        self.counts = ReadingCounts()
        self.numbers: tuple[int, ...] = ()

    def reset(self) -> None:
        """Forget the frame read last, so that the next is read as a whole; lines stay known by their
        pixels.
        """
        self._shape = None

    def trim(self) -> None:
        """Forget lines by their pixels and frames by their tiles; what stands on the screen stays known."""
        self._cache.clear()
        self._memory.clear()

    @property
    def nbytes(self) -> int:
        """About how many bytes lines known by their pixels and frames known by their tiles take."""
        return self._cache.nbytes + self._memory.nbytes

    def read(self, image: NDArray[np.uint8], change: Change | None = None) -> Page:
        """Read the next frame.

        Parameters
        ----------
        image
            RGB, shape ``(height, width, 3)``.
        change
            Where it differs from the frame read before; None if that is not known.

        Returns
        -------
        The whole page, of changed and unchanged lines.
        """
        start = time.perf_counter()
        self.counts.frames += 1
        self._moved = frozenset()
        kept: list[_Known] = []
        before: Sequence[_Known] = self._lines
        dirty: NDArray[np.bool_] | None = None
        if change is None or self._shape != image.shape:
            tile = TILE
        else:
            kept, dirty = self._carry_over(change)
            tile = change.tile
        if dirty is None or dirty.mean() >= _RECALLED:
            recalled = self._memory.recall(image)
            if recalled is not None and (dirty is None or recalled[1].mean() < dirty.mean()):
                before, mask = recalled
                kept, dirty = self._undisturbed(list(before), mask, TILE)
                tile = TILE
        numbers = {line.number for line in kept}
        disturbed = [line.box for line in before if line.number not in numbers]
        quads, kept = self._detect(image, kept, disturbed, dirty, tile)
        self.counts.kept += sum(line.number not in self._moved for line in kept)
        fresh = self._recognise(image, quads)
        self._lines = [*kept, *fresh]
        self._shape = image.shape
        if dirty is None or dirty.any():
            self._memory.remember(image, self._lines)
        return self._page(image, time.perf_counter() - start)

    def _carry_over(self, change: Change) -> tuple[list[_Known], NDArray[np.bool_]]:
        """The old lines that still stand or were moved, and the tiles that this does not explain."""
        dirty = change.mask.copy()
        if change.moves and dirty.any():
            moved, dirty = self._follow(change)
            numbers = {line.number for line in moved}
            stay = [line for line in self._lines if line.number not in numbers]
            still = change.equals([line.box for line in stay], (0, 0))
            kept = moved + [line for line, same in zip(stay, still, strict=True) if same]
            gone = [line for line, same in zip(stay, still, strict=True) if not same]
            self.counts.moved += len(moved)
            self._moved = frozenset(numbers)
            # What the edge of the moved part left of a line is looked for where the line would be.
            cut = np.zeros_like(dirty)
            _mark(cut, change.tile, [line.moved(change.moves[0]).box for line in gone])
            dirty |= cut & change.mask
        else:
            kept = list(self._lines)
        return self._undisturbed(kept, dirty, change.tile)

    def _follow(self, change: Change) -> tuple[list[_Known], NDArray[np.bool_]]:
        """Lines found again at the offsets, and the changed tiles that no offset explains."""
        dirty = change.mask.copy()
        boxes = np.array([line.box for line in self._lines], np.int64).reshape(-1, 4)
        touched = any_in(sums_of(change.mask), change.tile, boxes)
        candidates = [line for line, hit in zip(self._lines, touched, strict=True) if hit]
        moved: list[_Known] = []
        for offset in change.moves:
            shifted = [line.moved(offset) for line in candidates]
            same = change.equals([line.box for line in shifted], offset)
            moved += [line for line, equal in zip(shifted, same, strict=True) if equal]
            candidates = [line for line, equal in zip(candidates, same, strict=True) if not equal]
            rows, columns = np.nonzero(dirty)
            tiles = np.stack([rows, columns, rows + 1, columns + 1], axis=1) * change.tile
            limit = (self._shape or (0, 0))[:2]
            tiles[:, 2:] = np.minimum(tiles[:, 2:], limit)
            explained = change.equals([tuple(box) for box in tiles.tolist()], offset)
            dirty[rows[explained], columns[explained]] = False
        return moved, dirty

    def _undisturbed(
        self, lines: list[_Known], dirty: NDArray[np.bool_], tile: int
    ) -> tuple[list[_Known], NDArray[np.bool_]]:
        """The lines with nothing changed near them; the others' places count as changed."""
        boxes = np.array([line.box for line in lines], np.int64).reshape(-1, 4)
        heights = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        # Text goes on sideways far more often than up or down.
        aside, above = (_NEAR * heights).astype(np.int64), heights // 4
        near = any_in(sums_of(dirty), tile, boxes + np.stack([-above, -aside, above, aside], axis=1))
        dirty = dirty.copy()
        _mark(dirty, tile, [line.box for line, hit in zip(lines, near, strict=True) if hit])
        return [line for line, hit in zip(lines, near, strict=True) if not hit], dirty

    def _detect(
        self,
        image: NDArray[np.uint8],
        kept: list[_Known],
        disturbed: Sequence[Rectangle],
        dirty: NDArray[np.bool_] | None,
        tile: int,
    ) -> tuple[Quads, list[_Known]]:
        """The lines where something changed, and those of the kept that none of them replaces."""
        height, width = image.shape[:2]
        if dirty is not None and not dirty.any():
            return np.empty((0, 4, 2), np.float32), kept
        if dirty is None or self._moved:
            # What half a line reads as depends on all that the detector sees, and an edge past which content
            # moves cuts lines.
            return self._sorted_out(self._detect_whole(image), kept, everything=True)
        step = self.reader.region_step(height, width)
        # Where nothing but background is left there is nothing to find.
        inked = (with_ink(image, box) for box in tiles_to_boxes(dirty, tile, height, width))
        found_ink = [box for box in inked if box is not None]
        if any(_cuts(core, line) for core in found_ink for line in disturbed):
            return self._sorted_out(self._detect_whole(image), kept, everything=True)
        cores = merged(found_ink)
        regions = [
            stepped(grown(core, _CONTEXT, _CONTEXT, height, width), step, height, width) for core in cores
        ]
        regions = [stepped(box, step, height, width) for box in merged(regions)]
        sums = sums_of(dirty)
        found: list[Quads] = []
        for _ in range(_ROUNDS):
            if sum(map(area, regions)) >= _WHOLE * height * width:
                return self._sorted_out(self._detect_whole(image), kept, everything=True)
            again: list[Rectangle] = []
            for region in regions:
                with self._slice():
                    quads = self.reader.find(image, region)
                self.counts.detected_pixels += area(region)
                boxes = _boxes(quads)
                inside = any_in(sums, tile, boxes)
                quads, boxes = quads[inside], boxes[inside]
                wider = _widened(region, boxes, height, width)
                if wider == region:
                    found.append(quads)
                else:
                    again.append(stepped(wider, step, height, width))
            if not again:
                break
            regions = merged(again)
            # A region that swallowed others finds their lines too.
            found = [
                quads[[not any(_within(box, region) for region in regions) for box in _boxes(quads)]]
                for quads in found
            ]
        else:
            return self._sorted_out(self._detect_whole(image), kept, everything=True)
        quads = np.concatenate(found) if found else np.empty((0, 4, 2), np.float32)
        return self._sorted_out(_distinct(quads), kept)

    def _sorted_out(
        self, quads: Quads, kept: list[_Known], *, everything: bool = False
    ) -> tuple[Quads, list[_Known]]:
        """The lines that are new, and the old ones that stay; of ``everything``, only those that were found
        again.
        """
        # Around a change unchanged lines are found too: those stay. What covers an old line otherwise
        # replaces it.
        fresh = []
        again: set[int] = set()
        replaced: set[int] = set()
        for index, box in enumerate(tuple(box) for box in _boxes(quads).tolist()):
            same = [line for line in kept if _alike(box, line.box)]
            if same:
                again.update(line.number for line in same)
            else:
                fresh.append(index)
                replaced.update(line.number for line in kept if _covers(box, line.box))
        stay = [line for line in kept if line.number not in replaced]
        return quads[fresh], [line for line in stay if line.number in again or not everything]

    def _detect_whole(self, image: NDArray[np.uint8]) -> Quads:
        self.counts.whole += 1
        self.counts.detected_pixels += image.shape[0] * image.shape[1]
        with self._slice():
            return self.reader.find(image)

    def _recognise(self, image: NDArray[np.uint8], quads: Quads) -> list[_Known]:
        """What stands in the new lines; those known by their pixels are not recognised again."""
        keys = [key_of(image, quad) for quad in quads]
        readings = [self._cache.get(key) for key in keys]
        unknown = [index for index, reading in enumerate(readings) if reading is None]
        self.counts.cached += len(quads) - len(unknown)
        self.counts.recognised += len(unknown)
        for part in _parts(unknown, quads):
            with self._slice():
                fresh = self.reader.recognise(image, quads[part])
            for index, reading in zip(part, fresh, strict=True):
                self._cache.put(keys[index], reading)
                readings[index] = reading
        boxes = [tuple(box) for box in _boxes(quads).tolist()]
        return [
            _Known(quad, box, reading, next(self._numbers))
            for quad, box, reading in zip(quads, boxes, readings, strict=True)
            if reading is not None
        ]

    def _page(self, image: NDArray[np.uint8], seconds: float) -> Page:
        quads = np.array([line.quad for line in self._lines], np.float32).reshape(-1, 4, 2)
        placed = self.reader.arrange(quads, [line.reading for line in self._lines])
        self.numbers = tuple(self._lines[index].number for index, _ in placed)
        lines = tuple(
            Line(known.reading.text, known.reading.score, known.quad, row, known.reading.positions)
            for known, row in ((self._lines[index], row) for index, row in placed)
        )
        return Page(lines, image.shape[1], image.shape[0], {"total": seconds})


_PART_WIDTH = 4000
"""Pixels of width of lines 48 pixels high that are recognised in one piece of work."""


def _parts(indices: Sequence[int], quads: Quads) -> list[list[int]]:
    """The lines in pieces of work of about the same size, the narrow ones together."""
    low, high = quads.min(axis=1), quads.max(axis=1)
    sides = (high - low).clip(1)
    widths = 48 * sides.max(axis=1) / sides.min(axis=1)
    parts: list[list[int]] = []
    total = float(_PART_WIDTH)
    for index in sorted(indices, key=lambda index: float(widths[index])):
        if total >= _PART_WIDTH:
            parts.append([])
            total = 0.0
        parts[-1].append(index)
        total += float(widths[index])
    return parts


def _boxes(quads: Quads) -> NDArray[np.int64]:
    """Top, left, bottom, right around each."""
    low = np.floor(quads.min(axis=1)).astype(np.int64)
    high = np.ceil(quads.max(axis=1)).astype(np.int64) + 1
    return np.concatenate([low[:, ::-1], high[:, ::-1]], axis=1)


def _mark(mask: NDArray[np.bool_], tile: int, boxes: Sequence[Rectangle]) -> None:
    for top, left, bottom, right in boxes:
        mask[
            max(0, top) // tile : -(-max(0, bottom) // tile), max(0, left) // tile : -(-max(0, right) // tile)
        ] = True


def _widened(region: Rectangle, boxes: NDArray[np.int64], height: int, width: int) -> Rectangle:
    """The region, further where a line ends at its edge and may go on."""
    if len(boxes) == 0:
        return region
    top, left, bottom, right = region
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return (
        max(0, top - _GROWTH // 4) if top > 0 and low[0] <= top + 3 else top,
        max(0, left - _GROWTH) if left > 0 and low[1] <= left + 6 else left,
        min(height, bottom + _GROWTH // 4) if bottom < height and high[0] >= bottom - 3 else bottom,
        min(width, right + _GROWTH) if right < width and high[1] >= right - 6 else right,
    )


def _within(box: Sequence[int], region: Rectangle) -> bool:
    return overlap((box[0], box[1], box[2], box[3]), region)


def _covers(new: Rectangle, old: Rectangle) -> bool:
    """Whether a new line takes the place of an old one: it covers a good part of it, at its height."""
    shared = area(_shared(new, old))
    return shared > 0 and shared >= 0.4 * min(area(new), area(old))


def _cuts(change: Rectangle, line: Rectangle) -> bool:
    """Whether something larger than a line was put over a part of it, as a window is."""
    height = min(line[2] - line[0], line[3] - line[1])
    shared = _shared(change, line)
    if change[2] - change[0] <= 2 * height or area(shared) == 0:
        return False
    return area(line) - area(shared) > height * height // 2


def _alike(new: Rectangle, old: Rectangle) -> bool:
    """Whether a line found anew is an old one: they cover nearly the same."""
    shared = area(_shared(new, old))
    return shared >= 0.7 * (area(new) + area(old) - shared)


def _distinct(quads: Quads) -> Quads:
    """Without lines found twice, in regions that overlap; of two the larger stays."""
    boxes = [tuple(box) for box in _boxes(quads).tolist()]
    order = sorted(range(len(quads)), key=lambda index: -area(boxes[index]))
    kept: list[int] = []
    for index in order:
        box = boxes[index]
        if not any(
            overlap(box, boxes[other]) and area(_shared(box, boxes[other])) > 0.5 * area(box)
            for other in kept
        ):
            kept.append(index)
    return quads[sorted(kept)]


def _shared(a: Rectangle, b: Rectangle) -> Rectangle:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
