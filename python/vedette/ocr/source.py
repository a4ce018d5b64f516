"""What can be read: paths, bytes, arrays and PIL images."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette import image as images


def open_image(source: Any) -> NDArray[np.uint8]:
    """The source as an RGB array; transparent pixels show what contrasts with the visible ones."""
    if isinstance(source, str | os.PathLike | bytes | bytearray | memoryview):
        return images.load(source, background="contrast")
    return images.to_rgb(source, background="contrast")
