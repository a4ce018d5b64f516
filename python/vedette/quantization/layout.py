"""Where the scales of an array are, as the native kernels see it: as rows with scales by row or by column."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from vedette import _native
from vedette.quantization.parameters import Array

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows of ``columns`` elements; ``count`` scales, for columns, or for rows, over and over again.

    ``parameters`` is the shape that scales and zero points have for the caller.
    """

    shape: tuple[int, ...]
    columns: int
    by_column: bool
    count: int
    parameters: tuple[int, ...]

    @classmethod
    def of(cls, shape: tuple[int, ...], axis: int | None, group_size: int | None) -> Layout:
        """That of an array with a scale for all, for each index of an axis, or for groups along the last."""
        size = prod(shape)
        if group_size is not None:
            parameters = (*shape[:-1], shape[-1] // group_size)
            return cls(shape, group_size, False, prod(parameters), parameters)
        if axis is None:
            return cls(shape, size, False, 1, ())
        inside, count = prod(shape[axis + 1 :]), shape[axis]
        if inside == 1:
            return cls(shape, count, True, count, (count,))
        return cls(shape, inside, False, count, (count,))

    def packs(self, dtype: str) -> bool:
        """Whether the kernels put two of these elements in a byte: rows of 4 bits have to end with a byte."""
        even = bool(self.shape) and self.shape[-1] % 2 == 0 and self.columns % 2 == 0
        return not dtype.endswith("4") or even

    def ranges(self, array: Floats, isa: str | None = None) -> tuple[Floats, Floats] | None:
        """Least and greatest for each scale, widened to hold zero; None where one is NaN or infinite."""
        if array.size == 0:
            return np.zeros(self.parameters, np.float32), np.zeros(self.parameters, np.float32)
        found = _native.array_ranges(array.reshape(-1), self.columns, self.by_column, self.count, isa=isa)
        if found is None:
            return None
        low, high = (ends.reshape(self.parameters) for ends in found)
        return low, high

    def quantize(
        self, array: Floats, scale: Array, zero_point: Array, dtype: str, isa: str | None = None
    ) -> NDArray[np.uint8]:
        """Bytes of the nearest integers, halves to even, saturated; two in one of 4 bits."""
        pairs = dtype.endswith("4")
        out = np.empty((*self.shape[:-1], self.shape[-1] // 2) if pairs else self.shape, np.uint8)
        if out.size:
            flat, to = array.reshape(-1), out.reshape(-1)
            parameters = self._flat(scale, zero_point)
            _native.quantize_array(flat, self.columns, self.by_column, *parameters, dtype, to, isa=isa)
        return out

    def dequantize(
        self, data: Array, scale: Array, zero_point: Array, dtype: str, out: Floats, isa: str | None = None
    ) -> None:
        """The real numbers of such bytes, in a contiguous array."""
        if out.size:
            flat, to = np.ascontiguousarray(data).reshape(-1).view(np.uint8), out.reshape(-1)
            parameters = self._flat(scale, zero_point)
            _native.dequantize_array(flat, self.columns, self.by_column, *parameters, dtype, to, isa=isa)

    @staticmethod
    def _flat(scale: Array, zero_point: Array) -> tuple[Floats, Floats]:
        one, other = (np.ascontiguousarray(part, np.float32).reshape(-1) for part in (scale, zero_point))
        return one, other
