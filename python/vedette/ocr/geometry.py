"""Quadrilaterals: arrays of shape ``(..., 4, 2)``; corners are x, y, clockwise from where the text begins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Quads = NDArray[np.float32]


def sizes(quads: Quads) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Width and height: of each pair of opposite sides, the longer."""
    edges = np.linalg.norm(np.roll(quads, -1, axis=-2) - quads, axis=-1)
    return np.maximum(edges[..., 0], edges[..., 2]), np.maximum(edges[..., 1], edges[..., 3])


def turned_to_read(quads: Quads, ratio: float) -> Quads:
    """The quads, those ``ratio`` times as high as wide (text turned sideways) from their right side on."""
    width, height = sizes(quads)
    return np.where((height >= ratio * width)[..., None, None], np.roll(quads, -1, axis=-2), quads)


def between(quad: Quads, start: float, end: float) -> Quads:
    """The part of a quad between two fractions of its width."""
    top_left, top_right, bottom_right, bottom_left = quad
    top, bottom = top_right - top_left, bottom_right - bottom_left
    return np.stack(
        [
            top_left + start * top,
            top_left + end * top,
            bottom_left + end * bottom,
            bottom_left + start * bottom,
        ]
    )
