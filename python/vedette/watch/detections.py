"""From the output of a detection network to boxes: heads of the YOLO family, and suppression of overlaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.errors import InvalidModelError
from vedette.store.records import Box

__all__ = ["Detection", "decode_yolo", "suppress"]

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Detection:
    """An object: its class, how surely, and where in the input of the network."""

    label: int
    score: float
    box: Box


def decode_yolo(
    output: Floats, *, objectness: bool, threshold: float
) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Corners, scores and classes of the candidates above a threshold.

    Parameters
    ----------
    output
        ``(1, values, anchors)`` or ``(1, anchors, values)``; values are centre x and y, width, height, then
        (with ``objectness``, as YOLOv5 has it) one score of there being an object, then one a class.

    Raises
    ------
    InvalidModelError
        The output has another shape.
    """
    if output.ndim == 3 and output.shape[0] == 1:
        output = output[0]
    least = 6 if objectness else 5
    if output.ndim != 2 or min(output.shape) < least:
        raise InvalidModelError(
            f"expected an output (1, values, anchors) with at least {least} values, got {output.shape}"
        )
    # There are more anchors than values.
    rows = output.T if output.shape[0] < output.shape[1] else output
    classes = rows[:, 5 if objectness else 4 :]
    labels = classes.argmax(axis=1)
    scores = classes[np.arange(len(rows)), labels]
    if objectness:
        scores = scores * rows[:, 4]
    kept = scores >= threshold
    centres, halves = rows[kept, :2], rows[kept, 2:4] / 2
    return np.concatenate([centres - halves, centres + halves], axis=1), scores[kept], labels[kept]


def suppress(
    boxes: Floats, scores: Floats, labels: NDArray[np.intp], *, overlap: float, most: int
) -> list[int]:
    """Indices of the boxes that stay, the surest first: of those of a class that overlap, the surest."""
    areas = (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)
    order = np.argsort(-scores, kind="stable")[: 10 * most]
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low).clip(0).prod(axis=1)
        union = areas[best] + areas[rest] - shared
        same = labels[rest] == labels[best]
        order = rest[~(same & (shared > overlap * np.maximum(union, 1e-9)))]
    return kept
