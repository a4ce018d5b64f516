"""What an incremental reader is told of a frame: where it differs from the one read before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Rectangle = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels; the last two are outside."""

Offset = tuple[int, int]
"""Rows down and columns to the right."""


def never_equal(rectangles: Sequence[Rectangle], offset: Offset) -> list[bool]:
    """What is known of the pixels where nothing keeps them."""
    del offset
    return [False] * len(rectangles)


@dataclass(frozen=True, slots=True)
class Change:
    """Where a frame differs from the one read before.

    Attributes
    ----------
    mask
        For each tile whether it differs, shape ``(rows, columns)``.
    tile
        Pixels along a side of a tile.
    moves
        Offsets by which content may have moved, the likeliest first.
    equals
        Tells for rectangles of the frame whether each equals the one ``offset`` before it in the old frame.
    """

    mask: NDArray[np.bool_]
    tile: int
    moves: Sequence[Offset] = ()
    equals: Callable[[Sequence[Rectangle], Offset], list[bool]] = field(default=never_equal)
