"""Finding lines of text in an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.model import ImageInput
from vedette.ocr import kernels
from vedette.ocr.geometry import Quads, sizes
from vedette.ocr.network import Network

_MULTIPLE = 32
"""The network halves its input five times."""

NORMALISATION = ImageInput(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""What the network was trained on. It may do that itself, and take uint8 images."""


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """How the detector looks. The defaults are those the PP-OCR models are used with.

    Attributes
    ----------
    shortest_side, longest_side
        An image is scaled down until its longer side is at most ``longest_side``, then up until its shorter
        side is at least ``shortest_side``, in pixels.
    threshold
        Probability above which a place belongs to text.
    box_threshold
        Least mean probability of a line.
    unclip_ratio
        How far boxes are expanded: the network is trained on boxes shrunk by the area over the perimeter.
    max_candidates
        Most lines looked at.
    dilate
        Whether places of text grow by one to the right and below, which joins the letters of small text.
    """

    shortest_side: int = 736
    longest_side: int = 2000
    threshold: float = 0.3
    box_threshold: float = 0.5
    unclip_ratio: float = 1.6
    max_candidates: int = 3000
    dilate: bool = True


class Detector:
    """A text detection network of the DB family and what stands around it.

    Attributes
    ----------
    resolution
        The part of the usual resolution at which it looks.
    """

    def __init__(self, network: Network, options: DetectorOptions, threads: int) -> None:
        self._network = network
        self._options = options
        self._threads = threads
        self._takes_images = network.inputs[0].dtype == "uint8"
        self.resolution = 1.0

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """The size at which the network sees an image."""
        return network_size(height, width, self._options, self.resolution)

    def step(self, height: int, width: int) -> tuple[float, float]:
        """Pixels of an image of this size that one step of the network's input covers, down and across."""
        rows, columns = self._size(height, width)
        return _MULTIPLE * height / rows, _MULTIPLE * width / columns

    def detect(self, image: NDArray[np.uint8], region: tuple[int, int, int, int] | None = None) -> Quads:
        """The lines of an RGB image, in no particular order, within the image.

        With a region (top, left, bottom, right) only those in it, seen at the scale of the whole image.
        """
        if region is not None:
            return self._detect_region(image, region)
        framed, (left, top) = frame(image)
        height, width = self._size(framed.shape[0], framed.shape[1])
        quads = self._find(framed, height, width)
        quads -= np.array([left, top], np.float32)
        return _within(quads, image.shape[1], image.shape[0])

    def _detect_region(self, image: NDArray[np.uint8], region: tuple[int, int, int, int]) -> Quads:
        top, left, bottom, right = region
        down, across = self.step(image.shape[0], image.shape[1])
        part = image[top:bottom, left:right]
        height = max(1, round((bottom - top) / down)) * _MULTIPLE
        width = max(1, round((right - left) / across)) * _MULTIPLE
        quads = self._find(part, height, width) + np.array([left, top], np.float32)
        return _within(quads, image.shape[1], image.shape[0])

    def _find(self, framed: NDArray[np.uint8], height: int, width: int) -> Quads:
        """The lines of an image that the network sees at this size."""
        # The models were trained on what OpenCV reads, whose channels are the other way round.
        turned = framed[:, :, ::-1]
        if self._takes_images:
            planes: Any = kernels.stretched(turned, height, width, self._threads).transpose(0, 3, 1, 2)
        else:
            mean, deviation = NORMALISATION.mean, NORMALISATION.std
            planes = kernels.normalised(turned, height, width, mean, deviation, self._threads)
        probabilities: NDArray[np.float32] = self._network(planes)[0, 0]
        options = self._options
        quads = kernels.find_text_boxes(
            probabilities,
            options.threshold,
            options.box_threshold,
            options.unclip_ratio,
            options.max_candidates,
            options.dilate,
        )
        rows, columns = probabilities.shape
        quads *= np.array([framed.shape[1] / columns, framed.shape[0] / rows], np.float32)
        return quads


def _within(quads: Quads, width: int, height: int) -> Quads:
    """The quads within the image, without those of which nothing is left."""
    quads = quads.clip(0, np.array([width - 1, height - 1], np.float32))
    width_of, height_of = sizes(quads)
    return quads[(width_of > 3) & (height_of > 3)]


def network_size(
    height: int, width: int, options: DetectorOptions, resolution: float = 1.0
) -> tuple[int, int]:
    """The size at which the network sees an image: multiples of 32 near a part of its scaled size."""
    scale = min(1.0, options.longest_side / max(height, width))
    scale = max(scale, options.shortest_side / min(height, width))
    # However thin an image is, the network's work is bounded: by a square of twice the usual longest side.
    scale = resolution * min(scale, 2 * options.longest_side / max(height, width))
    rows, columns = (
        max(1, round(round(side * scale, 3) / _MULTIPLE)) * _MULTIPLE for side in (height, width)
    )
    return rows, columns


def frame(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """An image with room around thin content, and how far that moved it to the right and down.

    The network sees no text that fills the image from border to border, such as a single cut-out line. The
    room is filled with the median colour of the border.
    """
    height, width = image.shape[:2]
    least = max(64, max(height, width) // 8)
    down, right = (max(0, -(-(least - side) // 2)) for side in (height, width))
    if down == 0 and right == 0:
        return image, (0, 0)
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    framed = np.empty((height + 2 * down, width + 2 * right, 3), np.uint8)
    framed[:] = np.median(border, axis=0).astype(np.uint8)
    framed[down : down + height, right : right + width] = image
    return framed, (right, down)
