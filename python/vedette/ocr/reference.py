"""The kernels of reading in NumPy: what the native ones compute, in plain words; the way back from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vedette.ocr.geometry import Quads

Floats = NDArray[np.float32]
Points = NDArray[np.float64]

UPRIGHT = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
"""Corners of the unit square, as those of a line."""


def resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float64]:
    """An image stretched to another size, bilinear with half-pixel centres, its border repeated."""
    down = (np.arange(height) + 0.5) * image.shape[0] / height - 0.5
    across = (np.arange(width) + 0.5) * image.shape[1] / width - 0.5
    top, bottom, low = _taps(down, image.shape[0])
    left, right, near = _taps(across, image.shape[1])
    rows = image[top] * (1 - low)[:, None, None] + image[bottom] * low[:, None, None]
    stretched: NDArray[np.float64] = rows[:, left] * (1 - near)[:, None] + rows[:, right] * near[:, None]
    return stretched


def crop_lines(
    image: NDArray[np.uint8],
    quads: Quads,
    widths: Sequence[int],
    out: Floats,
    mean: Sequence[float],
    deviation: Sequence[float],
) -> None:
    """Write each line of an RGB image into its slot of ``(lines, 3, height, width)``: straightened, as BGR,
    normalised, and followed by zeros.
    """
    height = out.shape[2]
    for quad, width, slot in zip(quads.astype(np.float64), widths, out, strict=True):
        sides = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1)
        across, down = max(sides[0], sides[2], 1.0), max(sides[1], sides[3], 1.0)
        u = (np.arange(width) + 0.5) / width - 0.5 / across
        v = (np.arange(height) + 0.5) / height - 0.5 / down
        square = np.stack([*np.meshgrid(u, v), np.ones((height, width))], axis=-1)
        places = square @ _square_to(quad).T
        places = places[..., :2] / places[..., 2:]
        left, right, near = (part[..., None] for part in _taps(places[..., 0], image.shape[1]))
        top, bottom, low = (part[..., None] for part in _taps(places[..., 1], image.shape[0]))
        left, right, top, bottom = left[..., 0], right[..., 0], top[..., 0], bottom[..., 0]
        above = image[top, left] * (1 - near) + image[top, right] * near
        below = image[bottom, left] * (1 - near) + image[bottom, right] * near
        pixels = (above * (1 - low) + below * low)[..., ::-1]
        slot[:] = 0
        slot[:, :, :width] = ((pixels / 255 - mean) / deviation).transpose(2, 0, 1)


def find_text_boxes(
    probabilities: Floats,
    threshold: float,
    box_threshold: float,
    unclip_ratio: float,
    min_side: float,
    max_candidates: int,
    dilate: bool,
) -> Quads:
    """The boxes of text on a map of probabilities (Liao et al., "Real-time Scene Text Detection with
    Differentiable Binarization", 2020, section 3.5).
    """
    mask = probabilities > threshold
    if dilate:
        grown = np.pad(mask, ((1, 0), (1, 0)))
        mask = grown[1:, 1:] | grown[:-1, 1:] | grown[1:, :-1] | grown[:-1, :-1]
    found = []
    for points in _regions(mask)[:max_candidates]:
        center, direction, sides = _least_rectangle(points)
        if sides.min() < min_side:
            continue
        if _mean_inside(probabilities, _corners(center, direction, sides)) < box_threshold:
            continue
        distance = sides.prod() * unclip_ratio / (2 * sides.sum())
        found.append(_corners(center, direction, sides + 2 * distance))
    return np.array(found, np.float32).reshape(-1, 4, 2)


def _taps(
    places: NDArray[np.float64], length: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """The two pixels around each place, and how far it is from the first to the second."""
    places = places.clip(0, length - 1)
    first = np.floor(places).astype(np.intp)
    return first, np.minimum(first + 1, length - 1), places - first


def _square_to(quad: Points) -> Points:
    """The matrix that takes the unit square to a quadrilateral (Heckbert, "Fundamentals of Texture Mapping
    and Image Warping", 1989, section 2.2.3).
    """
    rows, values = [], []
    for (u, v), (x, y) in zip(UPRIGHT, quad, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
        values += [x, y]
    return np.append(np.linalg.solve(np.array(rows), np.array(values)), 1.0).reshape(3, 3)


def _regions(mask: NDArray[np.bool_]) -> list[Points]:
    """For each region of marked places that touch, corners included: the ends of its runs, as x and y."""
    parents: list[int] = []
    runs: list[tuple[int, int, int]] = []

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    above: list[int] = []
    for y in np.flatnonzero(mask.any(axis=1)).tolist():
        if runs and runs[-1][0] != y - 1:
            above = []
        edges = np.flatnonzero(np.diff(mask[y].astype(np.int8), prepend=0, append=0)).tolist()
        here = []
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            number = len(runs)
            runs.append((y, start, end))
            parents.append(number)
            here.append(number)
            for other in above:
                if runs[other][1] <= end and runs[other][2] >= start:
                    a, b = sorted((root(other), root(number)))
                    parents[b] = a
        above = here
    regions: dict[int, list[tuple[int, int]]] = {}
    for number, (y, start, end) in enumerate(runs):
        regions.setdefault(root(number), []).extend([(start, y), (end - 1, y)])
    return [np.array(points, np.float64) for points in regions.values()]


def _hull(points: Points) -> Points:
    """The convex hull (Andrew's monotone chain)."""
    ordered = sorted(set(map(tuple, points.tolist())))
    if len(ordered) < 3:
        return np.array(ordered)

    def chain(path: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        kept: list[tuple[float, ...]] = []
        for x, y in path:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2], kept[-1]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def _least_rectangle(points: Points) -> tuple[Points, Points, Points]:
    """Centre, direction and sides of the rectangle of least area around points."""
    hull = _hull(points)
    edges = np.roll(hull, -1, axis=0) - hull
    lengths = np.hypot(edges[:, 0], edges[:, 1])
    edges, lengths = edges[lengths > 0], lengths[lengths > 0]
    if len(edges) == 0:
        return hull[0], np.array([1.0, 0.0]), np.zeros(2)
    directions = edges / lengths[:, None]
    along = hull @ directions.T
    across = hull @ np.stack([-directions[:, 1], directions[:, 0]])
    low = np.stack([along.min(axis=0), across.min(axis=0)], axis=1)
    high = np.stack([along.max(axis=0), across.max(axis=0)], axis=1)
    best = int((high - low).prod(axis=1).argmin())
    (dx, dy), (a, b) = directions[best], (low[best] + high[best]) / 2
    return np.array([a * dx - b * dy, a * dy + b * dx]), directions[best], high[best] - low[best]


def _corners(center: Points, direction: Points, sides: Points) -> Points:
    """Top left, top right, bottom right, bottom left: of the two leftmost the upper one is the top left."""
    dx, dy = direction
    halves = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * sides / 2
    corners = center + halves @ np.array([[dx, dy], [-dy, dx]])
    corners = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = (pair[np.argsort(pair[:, 1], kind="stable")] for pair in (corners[:2], corners[2:]))
    return np.stack([left[0], right[0], right[1], left[1]])


def _mean_inside(probabilities: Floats, corners: Points) -> float:
    """Mean of the places whose centres lie in a convex quadrilateral, its border included."""
    height, width = probabilities.shape
    top, bottom = corners[:, 1].min(), corners[:, 1].max()
    total, count = 0.0, 0
    first, last = (int(np.clip(_rounded(edge), 0, height - 1)) for edge in (top, bottom))
    for y in range(first, last + 1):
        # The outermost rows are those nearest to the corners, which may lie up to half a place beyond them.
        level = min(max(float(y), top), bottom)
        crossings: list[float] = []
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if min(y0, y1) <= level <= max(y0, y1):
                crossings += [x0, x1] if y0 == y1 else [x0 + (x1 - x0) * (level - y0) / (y1 - y0)]
        if not crossings:
            continue
        left, right = (
            int(np.clip(_rounded(edge), 0, width - 1)) for edge in (min(crossings), max(crossings))
        )
        row = probabilities[y, left : right + 1]
        total += float(row.sum(dtype=np.float64))
        count += len(row)
    return total / count if count else 0.0


def _rounded(value: float) -> float:
    """To the nearest whole number, halves away from zero."""
    return float(np.copysign(np.floor(abs(value) + 0.5), value))
