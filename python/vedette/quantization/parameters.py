"""Scales and zero points: how real numbers are counted by small integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.errors import InputError

Array = NDArray[Any]

_LIMIT = 1e38
"""Ranges end where their width is still a float32."""

INTEGER_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "uint4": (0, 15)}
"""The integers of each type."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """``real = (integer - zero_point) * scale``, for one tensor of uint8."""

    scale: float
    zero_point: int

    @classmethod
    def of_range(cls, minimum: float, maximum: float) -> Parameters:
        """The asymmetric uint8 parameters of a range, widened to hold zero, which borders are padded with."""
        if not (-_LIMIT <= minimum <= maximum <= _LIMIT):
            raise InputError(f"expected a range of float32 numbers, got {minimum} to {maximum}")
        scale, zero_point = affine_parameters(np.array(minimum), np.array(maximum), "uint8", symmetric=False)
        return cls(float(scale), int(zero_point))

    @property
    def minimum(self) -> float:
        """The least real number."""
        return (0 - self.zero_point) * self.scale

    @property
    def maximum(self) -> float:
        """The greatest real number."""
        return (255 - self.zero_point) * self.scale

    def quantize(self, x: Array) -> NDArray[np.uint8]:
        """The integers nearest to real numbers, halves to even, saturated."""
        steps = np.rint(np.asarray(x, np.float32) * np.float32(1.0 / np.float32(self.scale)))
        return np.asarray(np.clip(steps + np.float32(self.zero_point), 0, 255), np.uint8)

    def dequantize(self, q: Array) -> NDArray[np.float32]:
        """The real numbers that integers stand for."""
        offset = np.asarray(q).astype(np.float32) - np.float32(self.zero_point)
        return np.asarray(offset * np.float32(self.scale), np.float32)


def affine_parameters(
    minimum: Array, maximum: Array, dtype: str, *, symmetric: bool
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Scales and zero points of ranges, element by element.

    Asymmetric: ``scale = (max - min) / (2^bits - 1)``, ``zero_point = round(-min / scale)`` counted from
    the least integer. Symmetric: ``scale = max(|min|, |max|) / (2^(bits - 1) - 1)``, and the zero point is
    in the middle. Ranges are widened to hold zero; an empty range gets the scale one.
    """
    least, greatest = INTEGER_RANGES[dtype]
    low, high = np.minimum(minimum, 0.0).astype(np.float64), np.maximum(maximum, 0.0).astype(np.float64)
    if symmetric:
        span, steps = np.maximum(-low, high), (greatest - least) // 2
        middle = 0 if least < 0 else (greatest + 1) // 2
    else:
        span, steps, middle = high - low, greatest - least, least
    # The least normal float32: what is smaller than that has no reciprocal.
    scale = np.maximum(span / steps, np.finfo(np.float32).tiny)
    scale = np.where(span > 0, scale, 1.0).astype(np.float32)
    if symmetric:
        return scale, np.full(scale.shape, middle, np.int32)
    zero_point = np.rint(-low / scale.astype(np.float64)) + least
    return scale, np.clip(zero_point, least, greatest).astype(np.int32)
