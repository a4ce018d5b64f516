"""The order in which lines are read: rows from top to bottom, columns of running text one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vedette.ocr.geometry import Quads, sizes

_SAME_ROW = 0.5
"""Lines share a row when they overlap by this part of the lower one's height."""

_GUTTER = 1.0
"""Least distance between columns, in heights of a line."""

_RUNNING_TEXT = 12.0
"""Lines this many times as wide as high, in the median, are running text rather than cells of a table."""

_COLUMN_ROWS = 4
"""Rows a column of running text has at least."""


@dataclass(frozen=True, slots=True)
class _Extent:
    index: int
    left: float
    right: float
    top: float
    bottom: float


_Row = list[_Extent]


def reading_order(quads: Quads) -> list[list[int]]:
    """Group lines into rows in the order they are read, each row from left to right.

    Parameters
    ----------
    quads
        Corners of the lines, shape ``(lines, 4, 2)``.

    Returns
    -------
    Indices of the lines, row by row. Lines side by side share a row, as the cells of a table do, unless they
    are columns of running text, which are read one after the other.
    """
    if len(quads) == 0:
        return []
    extents = _levelled(quads)
    return [[extent.index for extent in row] for row in _in_columns(_rows(extents))]


def _levelled(quads: Quads) -> list[_Extent]:
    """The extents of the lines once the page is turned so that most of its text is level."""
    width, _ = sizes(quads)
    ahead = quads[:, 1] - quads[:, 0]
    angles = np.arctan2(ahead[:, 1], ahead[:, 0])
    level = np.abs(angles) < np.pi / 4
    angle = _weighted_median(angles[level], width[level]) if level.any() else 0.0
    cos, sin = np.cos(angle), np.sin(angle)
    turned = quads @ np.array([[cos, -sin], [sin, cos]], np.float32)
    low, high = turned.min(axis=1), turned.max(axis=1)
    return [
        _Extent(
            index, float(low[index, 0]), float(high[index, 0]), float(low[index, 1]), float(high[index, 1])
        )
        for index in range(len(quads))
    ]


def _weighted_median(values: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, sums[-1] / 2)])


def _rows(extents: list[_Extent]) -> list[_Row]:
    """Lines grouped by vertical overlap, from top to bottom, each row from left to right."""
    rows: list[_Row] = []
    for extent in sorted(extents, key=lambda extent: extent.top + extent.bottom):
        # Only the latest rows can overlap a line whose middle lies lower than theirs.
        for row in reversed(rows[-4:]):
            if _fits(extent, row):
                row.append(extent)
                break
        else:
            rows.append([extent])
    for row in rows:
        row.sort(key=lambda extent: extent.left)
    return sorted(rows, key=lambda row: min(extent.top + extent.bottom for extent in row))


def _fits(extent: _Extent, row: _Row) -> bool:
    """Whether a line stands beside those of a row: at their height, and not over or under one of them."""
    for other in row:
        overlap = min(extent.bottom, other.bottom) - max(extent.top, other.top)
        if overlap < _SAME_ROW * min(extent.bottom - extent.top, other.bottom - other.top):
            return False
        shared = min(extent.right, other.right) - max(extent.left, other.left)
        if shared > 0.5 * min(extent.right - extent.left, other.right - other.left):
            return False
    return True


def _in_columns(rows: list[_Row]) -> list[_Row]:
    """The rows with every block of columns of running text read column by column."""
    ordered: list[_Row] = []
    start = 0
    while start < len(rows):
        end, gutter = _block(rows, start)
        if gutter is None:
            ordered.extend(rows[start:end])
        else:
            for side in _split(rows[start:end], gutter):
                ordered.extend(_in_columns(side))
        start = end
    return ordered


def _block(rows: list[_Row], start: int) -> tuple[int, float | None]:
    """The end of the rows from ``start`` on that leave the same gutter free; the gutter of running text."""
    gaps: list[tuple[float, float]] | None = None
    end = start
    while end < len(rows):
        row = rows[end]
        fresh = [(row[i].right, row[i + 1].left) for i in range(len(row) - 1)]
        if gaps is None:
            narrowed = fresh
        else:
            # Left and right of its lines a row leaves everything free, as the last line of a paragraph does.
            free = [(-np.inf, row[0].left), *fresh, (row[-1].right, np.inf)]
            narrowed = [
                (max(low, a), min(high, b))
                for low, high in gaps
                for a, b in free
                if min(high, b) > max(low, a)
            ]
        height = float(np.median([extent.bottom - extent.top for extent in row]))
        narrowed = [(low, high) for low, high in narrowed if high - low >= _GUTTER * height]
        if not narrowed:
            break
        gaps = narrowed
        end += 1
    if gaps is None:
        return start + 1, None
    for low, high in sorted(gaps, key=lambda gap: gap[0] - gap[1]):
        gutter = (low + high) / 2
        if all(_is_running_text(side) for side in _split(rows[start:end], gutter)):
            return end, gutter
    return end, None


def _split(rows: list[_Row], gutter: float) -> tuple[list[_Row], list[_Row]]:
    sides = (
        [[extent for extent in row if (extent.left > gutter) == right] for row in rows]
        for right in (False, True)
    )
    left, right = ([row for row in side if row] for side in sides)
    return left, right


def _is_running_text(rows: list[_Row]) -> bool:
    if len(rows) < _COLUMN_ROWS:
        return False
    shapes = [(line.right - line.left) / max(1.0, line.bottom - line.top) for row in rows for line in row]
    return float(np.median(shapes)) >= _RUNNING_TEXT
