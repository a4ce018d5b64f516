"""Telling lines that stand upside down."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette import _native
from vedette.ocr.geometry import Quads, between, sizes
from vedette.ocr.network import Network

_HEIGHT, _WIDTH = 48, 192
_BATCH = 16
_MEAN = _DEVIATION = (0.5, 0.5, 0.5)


class AngleClassifier:
    """A network that tells 0 from 180 degrees by the middle of a line.

    Long lines squeezed into its input as a whole, as they commonly are, it takes for either at random.
    """

    def __init__(self, network: Network, threads: int, threshold: float = 0.9) -> None:
        self._network = network
        self._threads = threads
        self._threshold = threshold

    def upright(self, image: NDArray[np.uint8], quads: Quads) -> Quads:
        """The quads, those of lines upside down starting at their other end."""
        width, height = sizes(quads)
        widths = np.ceil(_HEIGHT * width / np.maximum(height, 1)).clip(1, _WIDTH).astype(int)
        windows = _middles(quads, _WIDTH / _HEIGHT * height / np.maximum(width, 1))
        turned = np.zeros(len(quads), bool)
        for start in range(0, len(quads), _BATCH):
            part = slice(start, start + _BATCH)
            slots = np.empty((len(quads[part]), 3, _HEIGHT, _WIDTH), np.float32)
            chosen = widths[part].tolist()
            _native.crop_lines(image, windows[part], chosen, slots, _MEAN, _DEVIATION, True, self._threads)
            probabilities = self._network(slots)
            turned[part] = probabilities[:, 1] > self._threshold
        return np.where(turned[:, None, None], np.roll(quads, 2, axis=1), quads)


def _middles(quads: Quads, parts: NDArray[np.floating[Any]]) -> Quads:
    """The middle part of each quad, all of it where the part is 1 or more."""
    pairs = zip(quads, np.minimum(parts, 1).tolist(), strict=True)
    return np.array(
        [between(quad, 0.5 - part / 2, 0.5 + part / 2) for quad, part in pairs], np.float32
    ).reshape(-1, 4, 2)
