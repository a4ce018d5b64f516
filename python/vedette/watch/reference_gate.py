"""The change gate in NumPy: what the native one computes, in plain words, and the way back from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vedette import image as images
from vedette.ocr.change import Offset, Rectangle

__all__ = ["ReferenceGate"]

_BINS = 1024
_FLOOR = 64
_LEAST_VOTES = 12
_STRIP_TILES = 4


class ReferenceGate:
    """Like ``vedette._native.ChangeGate``, call by call."""

    def __init__(self, tile: int, luma: bool) -> None:
        self._tile = tile
        self._luma = luma
        self._shape: tuple[int, ...] | None = None
        self._reference: NDArray[np.uint8] = np.empty((0, 0), np.uint8)
        self._mask: NDArray[np.bool_] = np.empty((0, 0), np.bool_)
        self._level: float | None = None

    @property
    def noise(self) -> float:
        """Mean difference of luma that noise alone makes, as estimated."""
        return (self._level or 0.0) / 64

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._reference.nbytes + self._mask.nbytes

    def reset(self) -> None:
        """Forget the reference."""
        self._shape = None

    def mask(self) -> NDArray[np.bool_]:
        """The tiles that differed in the frame compared last."""
        return self._mask.copy()

    def compare(self, image: NDArray[np.uint8]) -> int:
        """Compare with the reference; how many tiles differ."""
        if image.shape != self._shape:
            self._shape = image.shape
            self._level = None
            self._reference = np.zeros_like(self._plane(image) if self._luma else image)
            grid = tuple(-(-side // self._tile) for side in image.shape[:2])
            self._mask = np.ones(grid, np.bool_)
            return int(self._mask.size)
        if self._luma:
            difference = np.abs(self._plane(image).astype(np.int32) - self._reference)
            # As the native gate counts them: in whole 1/64 of a level.
            pixels = self._sums(np.ones_like(difference))
            means = 64 * self._sums(difference) // pixels
            self._mask = means > self._limit(means)
        else:
            different = image != self._reference
            if different.ndim == 3:
                different = different.any(axis=2)
            self._mask = self._sums(different.astype(np.int32)) > 0
        return int(self._mask.sum())

    def accept(self, image: NDArray[np.uint8]) -> None:
        """Make this frame the reference."""
        self._reference = self._plane(image).copy() if self._luma else image.copy()

    def equals(self, image: NDArray[np.uint8], rectangles: Sequence[Rectangle], offset: Offset) -> list[bool]:
        """Whether each rectangle equals the one ``offset`` before it in the reference."""
        return [self._equals(image, rectangle, offset) for rectangle in rectangles]

    def _equals(self, image: NDArray[np.uint8], rectangle: Rectangle, offset: Offset) -> bool:
        if self._luma or image.shape != self._shape:
            return False
        top, left, bottom, right = rectangle
        from_top, from_left = top - offset[0], left - offset[1]
        height, width = bottom - top, right - left
        inside = min(top, left, from_top, from_left) >= 0 and height > 0 and width > 0
        rows, columns = image.shape[:2]
        if not inside or max(bottom, from_top + height) > rows or max(right, from_left + width) > columns:
            return False
        return np.array_equal(
            image[top:bottom, left:right],
            self._reference[from_top : from_top + height, from_left : from_left + width],
        )

    def moves(self, image: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
        """How content may have moved: rows down, columns to the right, votes."""
        if self._luma or image.shape != self._shape:
            return []
        pixels = image.reshape(*image.shape[:2], -1)
        before = self._reference.reshape(pixels.shape)
        vertical = self._votes(pixels, before, self._mask)
        if vertical:
            return [(distance, 0, votes) for distance, votes in vertical]
        sideways = self._votes(pixels.swapaxes(0, 1), before.swapaxes(0, 1), self._mask.T)
        return [(0, distance, votes) for distance, votes in sideways]

    def _votes(
        self, now: NDArray[np.uint8], before: NDArray[np.uint8], mask: NDArray[np.bool_]
    ) -> list[tuple[int, int]]:
        votes: Counter[int] = Counter()
        for strip in range(0, mask.shape[1], _STRIP_TILES):
            marked = np.flatnonzero(mask[:, strip : strip + _STRIP_TILES].any(axis=1))
            if len(marked) == 0 or marked[0] == marked[-1]:
                continue
            rows = slice(int(marked[0]) * self._tile, (int(marked[-1]) + 1) * self._tile)
            columns = slice(strip * self._tile, (strip + _STRIP_TILES) * self._tile)
            places = _places(before[rows, columns])
            for line, place in _places(now[rows, columns]).items():
                origin = places.get(line)
                if place is not None and origin is not None and place != origin:
                    votes[place - origin] += 1
        enough = [(distance, count) for distance, count in votes.items() if count >= _LEAST_VOTES]
        return sorted(enough, key=lambda found: (-found[1], found[0]))[:3]

    def _plane(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if image.ndim == 2:
            return image
        if image.shape[2] in (3, 4):
            gray: NDArray[np.uint8] = images.to_gray(image)
            return gray
        return image[:, :, 0]

    def _sums(self, values: NDArray[np.int32]) -> NDArray[np.int32]:
        rows = np.add.reduceat(values, np.arange(0, values.shape[0], self._tile), axis=0)
        return np.add.reduceat(rows, np.arange(0, values.shape[1], self._tile), axis=1)

    def _limit(self, means: NDArray[np.int32]) -> int:
        counts = np.bincount(means.ravel().clip(0, _BINS - 1), minlength=_BINS)
        median = float(np.argmax(2 * counts.cumsum() >= means.size))
        most = 256.0 if self._level is None else 1.25 * self._level + 16
        self._level = min(median, most)
        return int(1.75 * self._level) + _FLOOR


def _places(lines: NDArray[np.uint8]) -> dict[bytes, int | None]:
    """Where each line that is not of one colour occurs, None where it does more than once."""
    places: dict[bytes, int | None] = {}
    for index, line in enumerate(lines):
        if (line == line[0]).all():
            continue
        key = line.tobytes()
        places[key] = None if key in places else index
    return places
