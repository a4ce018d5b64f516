"""Whether a frame differs from the one processed last, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from vedette import _native, runtime
from vedette.ocr.change import Change, Offset, Rectangle
from vedette.sources.frame import Frame
from vedette.watch.reference_gate import ReferenceGate

__all__ = ["Gate"]

TILE = 16
"""Side of a tile in pixels."""

_PACKED = frozenset({"rgb", "bgr", "rgba", "bgra", "gray"})


class Gate:
    """Lets through what changed.

    Parameters
    ----------
    comparison
        ``exact`` compares every byte; ``luma`` means of tiles, against the noise that it estimates.

    Comparing with an equal frame reads each once and allocates nothing that grows with it.
    """

    def __init__(self, comparison: Literal["exact", "luma"] = "exact") -> None:
        self.comparison = comparison
        self._gates: list[Any] = []
        self._format: tuple[str, int, int] | None = None

    def examine(self, frame: Frame) -> Change | None:
        """Where the frame differs from the one accepted last; None where it does not."""
        if self._format != (frame.format, frame.height, frame.width):
            self._begin(frame)
        if self.comparison == "luma" and frame.format not in _PACKED:
            changed = self._gates[0].compare(frame.planes[0])
            masks = [self._gates[0].mask()] if changed else []
        else:
            counts = [gate.compare(plane) for gate, plane in zip(self._gates, frame.planes, strict=True)]
            masks = [gate.mask() for gate, count in zip(self._gates, counts, strict=True) if count]
        if not masks:
            return None
        mask = np.logical_or.reduce(masks)
        if len(self._gates) > 1:
            return Change(mask, TILE)
        gate, pixels = self._gates[0], frame.planes[0]

        def equals(rectangles: Sequence[Rectangle], offset: Offset) -> list[bool]:
            return list(gate.equals(pixels, list(rectangles), offset))

        moves = [(down, across) for down, across, _ in gate.moves(pixels)] if mask.sum() > 1 else []
        return Change(mask, TILE, moves, equals)

    def accept(self, frame: Frame) -> None:
        """Take the frame examined last as the one to compare with."""
        if self.comparison == "luma" and frame.format not in _PACKED:
            self._gates[0].accept(frame.planes[0])
            return
        for gate, plane in zip(self._gates, frame.planes, strict=True):
            gate.accept(plane)

    def reset(self) -> None:
        """Take the next frame for new."""
        self._format = None

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(gate.nbytes for gate in self._gates)

    def _begin(self, frame: Frame) -> None:
        luma = self.comparison == "luma"
        make = ReferenceGate if runtime.backend() == "numpy" else _native.ChangeGate
        # Chroma planes have half the rows and columns, so that their tiles cover the same pixels.
        count = 1 if luma and frame.format not in _PACKED else len(frame.planes)
        self._gates = [make(TILE if index == 0 else TILE // 2, luma) for index in range(count)]
        self._format = (frame.format, frame.height, frame.width)
