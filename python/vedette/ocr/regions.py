"""Which parts of a frame to look at: few rectangles around what changed, wide enough that lines are whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from vedette.ocr.change import Rectangle

_OVERHEAD = 96 * 96
"""Pixels that looking at one more region costs."""


def tiles_to_boxes(mask: NDArray[np.bool_], tile: int, height: int, width: int) -> list[Rectangle]:
    """Rectangles that cover the marked tiles: runs of each row, joined while they go on below."""
    done: list[list[int]] = []
    growing: list[list[int]] = []
    for row in range(mask.shape[0]):
        edges = np.flatnonzero(np.diff(mask[row].astype(np.int8), prepend=0, append=0)).tolist()
        boxes = [[row, start, row + 1, end] for start, end in zip(edges[::2], edges[1::2], strict=True)]
        for box in growing:
            below = [other for other in boxes if other[1] <= box[3] and other[3] >= box[1]]
            if below:
                boxes = [other for other in boxes if other not in below] + [_joined([box, *below])]
            else:
                done.append(box)
        growing = boxes
    return [
        (top * tile, left * tile, min(bottom * tile, height), min(right * tile, width))
        for top, left, bottom, right in [*done, *growing]
    ]


def with_ink(image: NDArray[np.uint8], box: Rectangle) -> Rectangle | None:
    """The part of a rectangle that is not of one colour, that of its first pixel; None where all of it is."""
    top, left, bottom, right = box
    part = image[top:bottom, left:right]
    ink = (part != part[0, 0]).any(axis=2)
    rows = np.flatnonzero(ink.any(axis=1))
    if len(rows) == 0:
        return None
    columns = np.flatnonzero(ink.any(axis=0))
    return top + int(rows[0]), left + int(columns[0]), top + int(rows[-1]) + 1, left + int(columns[-1]) + 1


def _joined(boxes: Sequence[Sequence[int]]) -> list[int]:
    return [
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    ]


def area(box: Rectangle) -> int:
    """Pixels in it."""
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def union(a: Rectangle, b: Rectangle) -> Rectangle:
    """The least rectangle around both."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def overlap(a: Rectangle, b: Rectangle) -> bool:
    """Whether they share a pixel."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def grown(box: Rectangle, rows: int, columns: int, height: int, width: int) -> Rectangle:
    """With so much more on each side, within the frame."""
    return (
        max(0, box[0] - rows),
        max(0, box[1] - columns),
        min(height, box[2] + rows),
        min(width, box[3] + columns),
    )


def merged(boxes: Iterable[Rectangle]) -> list[Rectangle]:
    """Fewer rectangles that cover the same, joined where that costs less than looking at each."""
    result = list(boxes)
    joined = True
    while joined:
        joined = False
        for i in range(len(result)):
            for j in range(len(result) - 1, i, -1):
                both = union(result[i], result[j])
                if area(both) <= area(result[i]) + area(result[j]) + _OVERHEAD:
                    result[i] = both
                    del result[j]
                    joined = True
    return result


def stepped(box: Rectangle, step: tuple[float, float], height: int, width: int) -> Rectangle:
    """A rectangle around this one whose sides are whole steps where the frame has room for it."""
    top, bottom = _side(box[0], box[2], step[0], height)
    left, right = _side(box[1], box[3], step[1], width)
    return top, left, bottom, right


def _side(start: int, end: int, step: float, limit: int) -> tuple[int, int]:
    steps = -(-(end - start) // step)
    # Few different sizes: each one has a plan of its own in the engine.
    steps = steps if steps <= 4 else -(-steps // 2) * 2 if steps <= 12 else -(-steps // 4) * 4
    length = min(limit, round(steps * step))
    start = max(0, min(start - (length - (end - start)) // 2, limit - length))
    return start, start + length


def sums_of(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Sums over all tiles above and to the left of each corner (a summed-area table)."""
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int32)
    sums[1:, 1:] = mask.cumsum(0, dtype=np.int32).cumsum(1)
    return sums


def any_in(sums: NDArray[np.int32], tile: int, boxes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether any tile is marked that each rectangle (a row of top, left, bottom, right) touches."""
    rows, columns = sums.shape[0] - 1, sums.shape[1] - 1
    top, left = (boxes[:, 0] // tile).clip(0, rows), (boxes[:, 1] // tile).clip(0, columns)
    bottom = (-(-boxes[:, 2] // tile)).clip(0, rows)
    right = (-(-boxes[:, 3] // tile)).clip(0, columns)
    found = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return np.asarray((found > 0) & (bottom > top) & (right > left))
