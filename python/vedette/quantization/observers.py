"""Ranges of streams of arrays: what is seen one by one becomes the range that integers are laid over."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vedette.errors import InputError
from vedette.quantization.histogram import Histogram
from vedette.quantization.parameters import Parameters

Range = tuple[float, float]

_LEVELS = 256
_SHRINKS = np.concatenate([np.linspace(1.0, 0.5, 26), np.linspace(0.48, 0.1, 20)])


class Observer(Protocol):
    """Sees arrays one by one, in constant memory, and then knows a range."""

    def update(self, x: ArrayLike) -> None:
        """Takes an array of finite numbers into account."""
        ...

    def range(self) -> Range:
        """The range to lay the integers over. Raises InputError where nothing was seen."""
        ...


class MinMax:
    """The least and the greatest number seen."""

    def __init__(self) -> None:
        self._low, self._high = math.inf, -math.inf

    def update(self, x: ArrayLike) -> None:
        """Takes an array into account."""
        low, high = _extremes(x)
        self._low, self._high = min(self._low, low), max(self._high, high)

    def range(self) -> Range:
        """From the least to the greatest."""
        return _known(self._low, self._high)


class MovingAverage:
    """Exponential averages of the least and the greatest number of each array."""

    # Beside every value of a model that is calibrated.
    __slots__ = ("_high", "_low", "_momentum")

    def __init__(self, momentum: float = 0.9) -> None:
        if not 0.0 <= momentum < 1.0:
            raise InputError(f"expected a momentum from 0 to below 1, got {momentum}")
        self._momentum = momentum
        self._low, self._high = math.inf, -math.inf

    def update(self, x: ArrayLike) -> None:
        """Takes an array into account."""
        self.update_range(*_extremes(x))

    def update_range(self, low: float, high: float) -> None:
        """Takes an array into account whose least and greatest number are known."""
        if low > high:
            return
        kept = self._momentum if math.isfinite(self._low) else 0.0
        self._low = (kept * self._low if kept else 0.0) + (1 - kept) * low
        self._high = (kept * self._high if kept else 0.0) + (1 - kept) * high

    def range(self) -> Range:
        """The averages."""
        return _known(self._low, self._high)


class FromHistogram:
    """A range chosen by looking at the histogram of everything seen."""

    def __init__(self, choose: Callable[[Histogram], Range]) -> None:
        self.histogram = Histogram()
        self._choose = choose

    def update(self, x: ArrayLike) -> None:
        """Takes an array into account."""
        self.histogram.update(np.asarray(x))

    def range(self) -> Range:
        """The range chosen."""
        low, high = _known(self.histogram.minimum, self.histogram.maximum)
        chosen_low, chosen_high = self._choose(self.histogram)
        return max(low, chosen_low), min(high, chosen_high)


def percentile_range(histogram: Histogram, percentile: float = 99.999) -> Range:
    """The range that leaves out the same share on either side, in all ``100 - percentile`` percent."""
    total = np.cumsum(histogram.counts)
    share = total / total[-1]
    outside = (100.0 - percentile) / 200.0
    low = int(np.searchsorted(share, outside, "right"))
    high = int(np.searchsorted(share, 1.0 - outside, "left"))
    half = histogram.bin_width / 2
    centers = histogram.centers
    high = min(high, centers.size - 1)
    return max(float(centers[low] - half), histogram.minimum), min(
        float(centers[high] + half), histogram.maximum
    )


def mse_range(histogram: Histogram) -> Range:
    """The range with the least mean squared error of rounding within and clipping outside of it."""
    centers, counts = histogram.occupied()
    return least_error_range(
        histogram.minimum,
        histogram.maximum,
        lambda low, high: rounding_error(centers, counts, Parameters.of_range(low, high)),
    )


def rounding_error(x: NDArray[np.float64], weights: NDArray[np.float64], parameters: Parameters) -> float:
    """Weighted sum of the squared errors of numbers: ``scale^2 / 12`` inside the range, clipping outside."""
    clipped = np.clip(x, parameters.minimum, parameters.maximum)
    return float(weights @ ((x - clipped) ** 2 + (x == clipped) * (parameters.scale**2 / 12)))


def least_error_range(minimum: float, maximum: float, error: Callable[[float, float], float]) -> Range:
    """Draws either end of a range towards zero as long as the error falls, twice around."""
    low, high = min(minimum, 0.0), max(maximum, 0.0)
    best = error(low, high)
    for _ in range(2):
        for end in ("high", "low"):
            whole = high if end == "high" else low
            if whole == 0.0:
                continue
            for shrink in _SHRINKS[1:]:
                candidate = (low, whole * shrink) if end == "high" else (whole * shrink, high)
                found = error(float(candidate[0]), float(candidate[1]))
                if found < best:
                    best, (low, high) = found, candidate
    return float(low), float(high)


def entropy_range(histogram: Histogram) -> Range:
    """The range whose 256 levels keep the distribution best: least Kullback-Leibler divergence.

    Numbers outside of it count as its ends, as in S. Migacz, "8-bit inference with TensorRT", 2017.
    """
    counts, centers, half = histogram.counts, histogram.centers, histogram.bin_width / 2
    least, greatest = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    best, chosen = math.inf, (least, greatest)
    for shrink in _SHRINKS:
        bound = max(-least, greatest) * shrink
        low, high = max(least, -bound), min(greatest, bound)
        inside = (centers + half > low) & (centers - half < high)
        reference = counts[inside].copy()
        if reference.size < 2 or reference.sum() == 0:
            continue
        bare = reference.copy()
        reference[0] += counts[centers + half <= low].sum()
        reference[-1] += counts[centers - half >= high].sum()
        level = np.minimum(np.arange(bare.size) * _LEVELS // bare.size, _LEVELS - 1)
        full = bare > 0
        sums = np.bincount(level, bare, _LEVELS)
        members = np.bincount(level, full, _LEVELS)
        spread = np.where(full, sums[level] / np.maximum(members[level], 1), 0.0)
        p, q = reference / reference.sum(), spread / max(spread.sum(), 1e-300)
        seen = p > 0
        # What the levels lose altogether costs as much as a distribution a million times too thin there.
        divergence = float(np.sum(p[seen] * np.log(p[seen] / np.maximum(q[seen], p[seen] * 1e-6))))
        if divergence < best:
            best, chosen = divergence, (low, high)
    return float(chosen[0]), float(chosen[1])


METHODS = ("minmax", "moving_average", "percentile", "entropy", "mse")
"""Ways to find a range."""


def observer(method: str = "minmax", *, momentum: float = 0.9, percentile: float = 99.999) -> Observer:
    """An observer that finds ranges by this method, one of ``METHODS``.

    Parameters
    ----------
    momentum
        Of ``"moving_average"``: what the past weighs against each new array.
    percentile
        Of ``"percentile"``: how much of the data lies within the range.
    """
    match method:
        case "minmax":
            return MinMax()
        case "moving_average":
            return MovingAverage(momentum)
        case "percentile":
            if not 50.0 < percentile <= 100.0:
                raise InputError(f"expected a percentile above 50 and up to 100, got {percentile}")
            return FromHistogram(lambda histogram: percentile_range(histogram, percentile))
        case "entropy":
            return FromHistogram(entropy_range)
        case "mse":
            return FromHistogram(mse_range)
    raise InputError(f"method {method!r} does not exist; there are {', '.join(map(repr, METHODS))}")


def _extremes(x: ArrayLike) -> Range:
    array = np.asarray(x)
    if array.size == 0:
        return math.inf, -math.inf
    low, high = float(array.min()), float(array.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("the data hold NaN or infinite values")
    return low, high


def _known(low: float, high: float) -> Range:
    if not low <= high:
        raise InputError("no data were seen, so there is no range")
    return low, high
