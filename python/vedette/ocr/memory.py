"""What has been read before: lines by their pixels, whole frames by hashes of their tiles."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vedette import _native, runtime
from vedette.ocr.geometry import Quads
from vedette.ocr.recogniser import Reading

TILE = 32
"""Side of the tiles by which frames are known again."""

Known = TypeVar("Known")


class LineCache:
    """Readings of the lines seen last, by their pixels.

    Attributes
    ----------
    nbytes
        About how many bytes they take.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._readings: OrderedDict[bytes, Reading] = OrderedDict()
        self.nbytes = 0
        self.hits = 0
        self.misses = 0

    def clear(self) -> None:
        """Forget all."""
        self._readings.clear()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._readings)

    def get(self, key: bytes | None) -> Reading | None:
        """The reading of a line of these pixels."""
        reading = None if key is None else self._readings.get(key)
        if key is None or reading is None:
            self.misses += 1
            return None
        self._readings.move_to_end(key)
        self.hits += 1
        return reading

    def put(self, key: bytes | None, reading: Reading) -> None:
        """Keep a reading."""
        if key is None:
            return
        before = self._readings.get(key)
        self.nbytes += _bytes_of(reading) - (0 if before is None else _bytes_of(before))
        self._readings[key] = reading
        while len(self._readings) > self._capacity:
            _, oldest = self._readings.popitem(last=False)
            self.nbytes -= _bytes_of(oldest)


def _bytes_of(reading: Reading) -> int:
    # An entry with its key, then for each character its code and a float object in a tuple.
    return 300 + 34 * len(reading.text)


_LINE_BYTES = 500
"""About what a line of a remembered frame takes: its corners, box and reading."""


def key_of(image: NDArray[np.uint8], quad: Quads) -> bytes | None:
    """What stands in a level line, wherever it stands and however closely it was framed; None for a tilted
    one.

    Rows and columns of the background around the ink are left out, so that the key depends on the ink alone.
    """
    low, high = quad.min(axis=0), quad.max(axis=0)
    upright = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])
    if np.abs(quad - upright).max() > 2.5:
        return None
    height, width = image.shape[:2]
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(width, int(high[0]) + 2), min(height, int(high[1]) + 2)
    part = image[top:bottom, left:right]
    ink = (part != part[0, 0]).any(axis=2)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if len(rows) == 0:
        return b"blank"
    tight = part[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    digest = hashlib.blake2b(tight.tobytes(), digest_size=16, key=part[0, 0].tobytes())
    digest.update(repr(tight.shape).encode())
    return digest.digest()


@dataclass(frozen=True, slots=True)
class _Seen(Generic[Known]):
    shape: tuple[int, ...]
    hashes: NDArray[np.uint64]
    lines: Sequence[Known]


class FrameMemory(Generic[Known]):
    """The frames read last, as hashes of their tiles: a window that is opened again is not read again."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._frames: list[_Seen[Known]] = []

    def clear(self) -> None:
        """Forget all."""
        self._frames = []

    @property
    def nbytes(self) -> int:
        """About how many bytes they take; lines that several frames show count in each."""
        return sum(frame.hashes.nbytes + _LINE_BYTES * len(frame.lines) for frame in self._frames)

    def remember(self, image: NDArray[np.uint8], lines: Sequence[Known]) -> None:
        """Keep what was read in a frame, in place of the frame most like it if that is nearly the same."""
        if self._capacity == 0:
            return
        hashes = tile_hashes(image)
        kept = [
            frame
            for frame in self._frames
            if frame.shape != image.shape or _differing(frame.hashes, hashes).mean() > 0.1
        ]
        self._frames = [*kept, _Seen(image.shape, hashes, lines)][-self._capacity :]

    def recall(self, image: NDArray[np.uint8]) -> tuple[Sequence[Known], NDArray[np.bool_]] | None:
        """The lines of the frame most like this one, and the tiles in which they differ."""
        alike = [frame for frame in self._frames if frame.shape == image.shape]
        if not alike:
            return None
        hashes = tile_hashes(image)
        masks = [_differing(frame.hashes, hashes) for frame in alike]
        best = min(range(len(alike)), key=lambda index: int(masks[index].sum()))
        return alike[best].lines, masks[best]


def tile_hashes(image: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """128 bits for each tile, shape ``(rows, columns, 2)``; equal tiles have equal ones."""
    if runtime.backend() == "native":
        return _native.tile_hashes(image, TILE)
    rows, columns = -(-image.shape[0] // TILE), -(-image.shape[1] // TILE)
    hashes = np.empty((rows, columns, 2), np.uint64)
    for row, column in np.ndindex(rows, columns):
        tile = image[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        digest = hashlib.blake2b(tile.tobytes(), digest_size=16).digest()
        hashes[row, column] = np.frombuffer(digest, np.uint64)
    return hashes


def _differing(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.bool_]:
    return np.asarray((a != b).any(axis=2))
