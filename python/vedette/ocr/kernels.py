"""What reading asks for each pixel: of the native core, or of NumPy where ``VEDETTE_BACKEND`` says so."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vedette import _native, runtime
from vedette.image import Preprocess
from vedette.memory import default_pool
from vedette.ocr import reference
from vedette.ocr.geometry import Quads

_LEAST_SIDE = 3.0
"""Places of the map that a box has at least along its shorter side."""


def stretched(image: NDArray[np.uint8], height: int, width: int, threads: int) -> NDArray[np.uint8]:
    """An image at another size, ``(1, height, width, 3)``."""
    if runtime.backend() == "numpy":
        stretched: NDArray[np.uint8] = np.rint(reference.resized(image, height, width)).astype(np.uint8)
        return stretched[None]
    pixels = default_pool().empty((1, height, width, 3), np.uint8)
    _images(height, width, threads)(image, out=pixels)
    return pixels


def normalised(
    image: NDArray[np.uint8],
    height: int,
    width: int,
    mean: Sequence[float],
    deviation: Sequence[float],
    threads: int,
) -> NDArray[np.float32]:
    """An image at another size as normalised planes, ``(1, 3, height, width)``."""
    if runtime.backend() == "numpy":
        pixels = (reference.resized(image, height, width) / 255 - mean) / deviation
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)
    prepared: NDArray[np.float32] = _planes(height, width, tuple(mean), tuple(deviation), threads)(image)
    return prepared


def find_text_boxes(
    probabilities: NDArray[np.float32],
    threshold: float,
    box_threshold: float,
    unclip_ratio: float,
    max_candidates: int,
    dilate: bool,
) -> Quads:
    """The boxes of text on a map of probabilities, ``(boxes, 4, 2)``."""
    limits = (threshold, box_threshold, unclip_ratio, _LEAST_SIDE, max_candidates, dilate)
    if runtime.backend() == "numpy":
        return reference.find_text_boxes(probabilities, *limits)
    return _native.find_text_boxes(probabilities, *limits)[0]


def crop_lines(
    image: NDArray[np.uint8],
    quads: Quads,
    widths: Sequence[int],
    out: NDArray[np.float32],
    mean: tuple[float, float, float],
    deviation: tuple[float, float, float],
    threads: int,
) -> None:
    """Write each line of an RGB image into its slot of ``(lines, 3, height, width)``, as BGR."""
    if runtime.backend() == "numpy":
        reference.crop_lines(image, quads, widths, out, mean, deviation)
    else:
        _native.crop_lines(image, quads, widths, out, mean, deviation, True, threads)


# Kept, since they keep their plans.
@lru_cache(maxsize=32)
def _images(height: int, width: int, threads: int) -> Preprocess:
    return Preprocess(
        (height, width), layout="NHWC", dtype="uint8", antialias=False, profile="opencv", threads=threads
    )


@lru_cache(maxsize=32)
def _planes(
    height: int,
    width: int,
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
    threads: int,
) -> Preprocess:
    return Preprocess(
        (height, width), mean=mean, std=deviation, antialias=False, profile="opencv", threads=threads
    )
