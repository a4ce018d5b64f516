"""Recognising the characters of straightened lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vedette.errors import InvalidModelError
from vedette.ocr import kernels
from vedette.ocr.batches import plan_batches
from vedette.ocr.ctc import alphabet, collapse
from vedette.ocr.geometry import Quads, sizes
from vedette.ocr.network import Network
from vedette.ocr.timing import Stopwatch

HEIGHT = 48
"""Pixels of height the recogniser is trained on."""

_WIDTH_MULTIPLE = 32
_MAX_WIDTH = 9600
_BATCH_CAPACITY = 1600
"""A step an eighth of a slot wide gives a value for each of some 20,000 characters: 16 MB a batch."""

_BATCH_OVERHEAD = 64
_MEAN = _DEVIATION = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Reading:
    """What stands in a line: its text, the mean score of its characters, and where along the line they are.

    ``positions`` are fractions of the line's width, one a character.
    """

    text: str
    score: float
    positions: tuple[float, ...]


class Recogniser:
    """A line recognition network with CTC output and what stands around it."""

    def __init__(self, network: Network, threads: int) -> None:
        listing = network.metadata.get("character")
        if not listing:
            raise InvalidModelError("the recogniser carries no character list (metadata key 'character')")
        self._network = network
        self._names = alphabet(listing)
        self._threads = threads

    def recognise(self, image: NDArray[np.uint8], quads: Quads, watch: Stopwatch) -> list[Reading]:
        """The text of each line of an RGB image."""
        width, height = sizes(quads)
        ratios = width / np.maximum(height, 1)
        widths = np.ceil(HEIGHT * ratios).clip(1, _MAX_WIDTH).astype(int).tolist()
        readings = [Reading("", 0.0, ())] * len(quads)
        batches = plan_batches(
            widths, multiple=_WIDTH_MULTIPLE, capacity=_BATCH_CAPACITY, overhead=_BATCH_OVERHEAD
        )
        for batch in batches:
            with watch.stage("crop"):
                slots = np.empty((len(batch.lines), 3, HEIGHT, batch.width), np.float32)
                lines = list(batch.lines)
                chosen = [widths[line] for line in lines]
                kernels.crop_lines(image, quads[lines], chosen, slots, _MEAN, _DEVIATION, self._threads)
            with watch.stage("recognise"):
                scores, classes = self._best_classes(slots)
            with watch.stage("decode_text"):
                for i, line in enumerate(lines):
                    decoded = collapse(classes[i], scores[i], self._names)
                    # Steps divide the slot evenly; the line fills only the first part of it.
                    step = batch.width / classes.shape[1] / chosen[i]
                    positions = tuple(min(1.0, (at + 0.5) * step) for at in decoded.steps)
                    readings[line] = Reading(decoded.text, decoded.score, positions)
        return readings

    def _best_classes(self, slots: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """For each slot and step the probability of the likeliest character, and which it is."""
        answer = self._network(slots)
        if isinstance(answer, tuple):
            return answer
        return answer.max(axis=-1), answer.argmax(axis=-1)
