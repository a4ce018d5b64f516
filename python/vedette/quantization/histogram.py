"""A histogram of a stream of numbers whose range nobody knows beforehand."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vedette.errors import InputError
from vedette.quantization.parameters import Array

_BINS = 2048
_SAMPLE = 1 << 18


class Histogram:
    """Counts in bins that double their width, two becoming one, whenever a number falls outside.

    Memory is constant. Of arrays of more than a quarter of a million elements, evenly spread ones are
    counted, and each stands for several; least and greatest are always exact.
    """

    def __init__(self) -> None:
        self.minimum = math.inf
        self.maximum = -math.inf
        self.counts: NDArray[np.float64] = np.zeros(_BINS)
        self._start = 0.0
        self._width = 0.0

    def update(self, x: Array) -> tuple[float, float]:
        """Counts the elements of an array; its least and greatest. NaN and infinity are refused."""
        if x.size == 0:
            return math.inf, -math.inf
        low, high = float(x.min()), float(x.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise InputError("the data hold NaN or infinite values")
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self._make_room(low, high)
        flat = x.reshape(-1)
        # An odd step: activations are rows of a power of two elements, and an even one would see few columns.
        step = max(1, x.size // _SAMPLE) | 1
        sample = flat[::step] if step > 1 else flat
        at = ((sample.astype(np.float32) - np.float32(self._start)) * np.float32(1.0 / self._width)).astype(
            np.int64
        )
        found = np.bincount(np.clip(at, 0, _BINS - 1), minlength=_BINS)
        self.counts += found * (x.size / sample.size)
        return low, high

    @property
    def centers(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        return np.asarray(self._start + (np.arange(_BINS) + 0.5) * self._width, np.float64)

    @property
    def bin_width(self) -> float:
        """How wide each bin is."""
        return self._width

    def occupied(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Middles and counts of the bins that are not empty."""
        full = self.counts > 0
        return self.centers[full], self.counts[full]

    def _make_room(self, low: float, high: float) -> None:
        if self._width == 0.0:
            span = max(high - low, 1e-6 * max(abs(low), abs(high)), 1e-30)
            # Room on both sides, so that most streams never need to double.
            self._start, self._width = low - span / 4, 1.5 * span / _BINS
        while low < self._start:
            self._start -= _BINS * self._width
            self._halve(upper=True)
        while high >= self._start + _BINS * self._width:
            self._halve(upper=False)

    def _halve(self, *, upper: bool) -> None:
        pairs = self.counts.reshape(-1, 2).sum(1)
        empty = np.zeros(_BINS // 2)
        self.counts = np.concatenate([empty, pairs] if upper else [pairs, empty])
        self._width *= 2
