"""Where the points of an image land when it is fitted to another size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Transform"]


@dataclass(frozen=True)
class Transform:
    """A scale and a shift of each axis; pixel ``i`` fills ``i`` to ``i + 1``."""

    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float

    @classmethod
    def from_axes(cls, axes: tuple[tuple[float, float], tuple[float, float]]) -> Transform:
        """From scale and shift of rows, then of columns."""
        (scale_y, shift_y), (scale_x, shift_x) = axes
        return cls(scale_x, scale_y, shift_x, shift_y)

    @property
    def inverse(self) -> Transform:
        """The transform back: from the result to the image."""
        return Transform(
            1 / self.scale_x, 1 / self.scale_y, -self.shift_x / self.scale_x, -self.shift_y / self.scale_y
        )

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Move points ``(..., x, y)``; the last axis may hold several, as a box ``(x0, y0, x1, y1)`` does."""
        array: NDArray[Any] = np.asarray(points, dtype=np.float64)
        repeats = array.shape[-1] // 2
        scale = np.tile([self.scale_x, self.scale_y], repeats)
        shift = np.tile([self.shift_x, self.shift_y], repeats)
        moved: NDArray[np.float64] = array * scale + shift
        return moved
