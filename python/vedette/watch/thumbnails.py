"""Small pictures of frames, without what must not be seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vedette import image
from vedette.store.records import Box

_WIDTH = 320
_QUALITY = 60


def thumbnail(pixels: NDArray[np.uint8], hidden: Sequence[Box] = ()) -> tuple[tuple[int, int], bytes]:
    """Height and width, and the bytes of a JPEG file, with the boxes painted black."""
    height, width = pixels.shape[:2]
    scale = min(1.0, _WIDTH / width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    if hidden:
        pixels = pixels.copy()
        for left, top, right, bottom in hidden:
            pixels[max(0, int(top)) : int(bottom) + 2, max(0, int(left)) : int(right) + 2] = 0
    small = image.resize(np.ascontiguousarray(pixels), size, filter="area")
    return size, image.encode(small, "jpg", quality=_QUALITY).tobytes()
