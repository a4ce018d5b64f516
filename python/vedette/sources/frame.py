"""A frame as its source gives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vedette import image
from vedette.errors import SourceError

PixelFormat = Literal["rgb", "bgr", "rgba", "bgra", "gray", "nv12", "i420"]

PLANES = {"rgb": 1, "bgr": 1, "rgba": 1, "bgra": 1, "gray": 1, "nv12": 2, "i420": 3}
"""Arrays a frame of each format comes in: for nv12 luma and interleaved chroma, for i420 three planes."""


@dataclass(eq=False, slots=True)
class Frame:
    """Pixels, when they were taken, and where they stand in their source.

    Attributes
    ----------
    planes
        Arrays of uint8 of any strides, one for packed formats. They belong to the frame until the next one is
        read; whoever keeps them longer copies.
    format
        What the arrays hold.
    index
        Number of the frame in its source, from 0.
    at
        Unix time at which it was taken or, in a file, at which it was read.
    position_s
        Where in a recording it stands, in seconds.
    name
        Of its file, where it has one of its own.
    """

    planes: tuple[NDArray[np.uint8], ...]
    format: PixelFormat
    index: int
    at: float
    position_s: float | None = None
    name: str = ""
    _rgb: NDArray[np.uint8] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        expected = PLANES.get(self.format)
        if expected is None or len(self.planes) != expected:
            raise SourceError(f"a frame of format {self.format!r} cannot have {len(self.planes)} planes")

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.planes[0].shape[0])

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return int(self.planes[0].shape[1])

    def rgb(self) -> NDArray[np.uint8]:
        """The pixels as RGB, shape ``(height, width, 3)``; converted when first asked for."""
        if self._rgb is None:
            self._rgb = self._to_rgb()
        return self._rgb

    def _to_rgb(self) -> NDArray[np.uint8]:
        first = self.planes[0]
        match self.format:
            case "rgb":
                return first
            case "gray":
                return image.to_rgb(first)
            case "rgba":
                return first[:, :, :3]
            case "bgr" | "bgra":
                return first[:, :, 2::-1]
            case _:
                return self._from_yuv()

    def _from_yuv(self) -> NDArray[np.uint8]:
        height, width = self.height - self.height % 2, self.width - self.width % 2
        stacked = np.empty((height * 3 // 2, width), np.uint8)
        stacked[:height] = self.planes[0][:height, :width]
        chroma = stacked[height:].reshape(-1)
        quarter = (height // 2, width // 2)
        if self.format == "nv12":
            chroma.reshape(height // 2, width)[:] = self.planes[1].reshape(self.planes[1].shape[0], -1)[
                : quarter[0], :width
            ]
        else:
            for part, plane in zip(np.split(chroma, 2), self.planes[1:], strict=True):
                part.reshape(quarter)[:] = plane[: quarter[0], : quarter[1]]
        converted: NDArray[np.uint8] = image.convert(stacked, self.format, "rgb")
        if (height, width) == (self.height, self.width):
            return converted
        # An odd last row or column has no chroma of its own.
        return np.pad(converted, ((0, self.height - height), (0, self.width - width), (0, 0)), mode="edge")
