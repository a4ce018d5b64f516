"""Arrays stored as small integers with scales and zero points, or as 16-bit floats."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from vedette import _native, tensor_file
from vedette.errors import InputError
from vedette.quantization.layout import Layout
from vedette.quantization.parameters import INTEGER_RANGES, Array, affine_parameters

DTYPES = ("int8", "uint8", "int4", "uint4", "float16", "bfloat16")
"""Element types that :func:`quantize` knows."""

_NOTE = "vedette.quantized_tensor"
_BITS = {"int8": 8, "uint8": 8, "int4": 4, "uint4": 4, "float16": 16, "bfloat16": 16}


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """A tensor in few bits: ``real = (data - zero_point) * scale``.

    Attributes
    ----------
    data
        The integers: ``int8`` or ``uint8`` of the tensor's shape; 4-bit types as ``uint8`` with two along
        the last axis in one byte, the first in the low bits (``int4`` in two's complement). ``float16`` as
        such, ``bfloat16`` as its bit patterns in ``uint16``.
    scale, zero_point
        One number; one for each index of ``axis``; or, with groups, of the shape of ``x`` with the last axis
        divided by ``group_size``. None for 16-bit floats.
    shape, dtype, axis, group_size
        Of the tensor, and as given to :func:`quantize`.
    """

    data: Array
    scale: NDArray[np.float32] | None
    zero_point: NDArray[np.int32] | None
    shape: tuple[int, ...]
    dtype: str
    axis: int | None = None
    group_size: int | None = None

    def __repr__(self) -> str:
        by = f", axis={self.axis}" if self.axis is not None else ""
        by += f", group_size={self.group_size}" if self.group_size is not None else ""
        shape = "x".join(map(str, self.shape)) or "scalar"
        return f"<QuantizedTensor {self.dtype} {shape}{by}, {self.nbytes} bytes>"

    @property
    def nbytes(self) -> int:
        """Bytes of the data, and of scales and zero points; a zero point counts as many as an element."""
        parameters = 0
        if self.scale is not None and self.zero_point is not None:
            zero_points = (
                0 if not self.zero_point.any() else -(-self.zero_point.size * _BITS[self.dtype] // 8)
            )
            parameters = self.scale.nbytes + zero_points
        return self.data.nbytes + parameters

    @property
    def compression_ratio(self) -> float:
        """How many times smaller than float32 it is."""
        return 4.0 * math.prod(self.shape) / self.nbytes if self.nbytes else 1.0

    def integers(self) -> Array:
        """The integers one by one, whatever they are packed in; the data itself where it is not packed."""
        if self.dtype not in ("int4", "uint4"):
            return self.data
        count = self.shape[-1] if self.shape else 1
        split = np.empty((*self.data.shape[:-1], 2 * self.data.shape[-1]), np.uint8)
        split[..., 0::2], split[..., 1::2] = self.data & 15, self.data >> 4
        split = split[..., :count].reshape(self.shape)
        return ((split ^ 8).astype(np.int8) - 8).astype(np.int8) if self.dtype == "int4" else split

    def dequantize(self, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """The real numbers as float32, in ``out`` where it is given (of this shape, any strides)."""
        if out is None:
            out = np.empty(self.shape, np.float32)
        elif out.shape != self.shape or out.dtype != np.float32:
            raise InputError(f"expected out of float32 {self.shape}, got {out.dtype} {out.shape}")
        direct = out.flags.c_contiguous and out.flags.writeable
        target = out if direct else np.empty(self.shape, np.float32)
        if self.scale is None or self.zero_point is None:
            bits = np.ascontiguousarray(self.data).reshape(-1).view(np.uint16)
            _native.from_halves(bits, self.dtype, target.reshape(-1))
        else:
            layout = Layout.of(self.shape, self.axis, self.group_size)
            packed = layout.packs(self.dtype)
            data, dtype = (self.data, self.dtype) if packed else (self.integers(), self.dtype[:-1] + "8")
            layout.dequantize(data, self.scale, self.zero_point, dtype, target)
        if not direct:
            out[...] = target
        return out

    def save(self, path: str | Path) -> Path:
        """Writes a safetensors file, from which :meth:`map` gives the tensor back. Returns the path."""
        path = Path(path)
        tensors = {"data": self.data}
        if self.scale is not None and self.zero_point is not None:
            tensors |= {"scale": self.scale, "zero_point": self.zero_point}
        note = {"dtype": self.dtype, "shape": self.shape, "axis": self.axis, "group_size": self.group_size}
        try:
            tensor_file.write(path, tensors, {_NOTE: json.dumps(note)})
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from None
        return path

    @classmethod
    def map(cls, path: str | Path) -> QuantizedTensor:
        """Maps a file that :meth:`save` wrote; the arrays are views of it.

        Raises
        ------
        InputError
            The file is missing, damaged, or holds something else.
        """
        path = Path(path)
        try:
            file = tensor_file.read(path)
            return _checked(file.tensors, file.notes)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        except tensor_file.DamageError as error:
            raise InputError(f"{path} is no saved tensor, or it is damaged: {error}") from None


def quantize(
    x: ArrayLike,
    dtype: str = "int8",
    *,
    axis: int | None = None,
    group_size: int | None = None,
    symmetric: bool | None = None,
) -> QuantizedTensor:
    """Stores an array in few bits.

    Parameters
    ----------
    x : array_like
        Finite real numbers.
    dtype : {"int8", "uint8", "int4", "uint4", "float16", "bfloat16"}
        Of the elements stored.
    axis : int, optional
        A scale for each index of this axis; by default one scale for all.
    group_size : int, optional
        A scale for each run of so many elements along the last axis, whose size is a multiple of it.
    symmetric : bool, optional
        Whether zero is in the middle of the integers. By default it is for signed types; otherwise the
        range is laid over all integers: ``scale = (max - min) / 255``, ``zero_point = round(-min /
        scale)``.

    Raises
    ------
    InputError
        An unknown type, NaN or infinity in ``x``, an axis or group that does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> q = quantize(np.array([0.0, 0.5, 1.0]), "uint8")
    >>> q.data.tolist()
    [0, 128, 255]
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r} does not exist; there are {', '.join(map(repr, DTYPES))}")
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise InputError(f"expected an array of real numbers, got {array.dtype}")
    array = np.ascontiguousarray(array, np.float32).reshape(array.shape)
    if dtype not in INTEGER_RANGES:
        if axis is not None or group_size is not None or symmetric is not None:
            raise InputError(f"{dtype} has no scales: axis, group_size and symmetric do not apply")
        return QuantizedTensor(_half(array, dtype), None, None, array.shape, dtype)
    if axis is not None and group_size is not None:
        raise InputError("expected axis or group_size, got both")
    if axis is not None:
        if not -array.ndim <= axis < array.ndim:
            raise InputError(f"axis {axis} is outside of shape {array.shape}")
        axis %= array.ndim
    if group_size is not None and (
        array.ndim == 0 or group_size < 1 or array.shape[array.ndim - 1] % group_size
    ):
        raise InputError(f"group_size {group_size} does not divide the last axis of shape {array.shape}")
    symmetric = dtype.startswith("int") if symmetric is None else symmetric
    layout = Layout.of(array.shape, axis, group_size)
    low, high = _ranges(layout, array)
    scale, zero_point = affine_parameters(low, high, dtype, symmetric=symmetric)
    packs = layout.packs(dtype)
    data: Array = layout.quantize(array, scale, zero_point, dtype if packs else dtype[:-1] + "8")
    if not packs:
        least, greatest = INTEGER_RANGES[dtype]
        integers = data.view(np.int8) if least < 0 else data
        data = _packed(np.clip(integers, least, greatest))
    return QuantizedTensor(
        data.view(np.int8) if dtype == "int8" else data,
        scale,
        zero_point,
        array.shape,
        dtype,
        axis,
        group_size,
    )


def _ranges(layout: Layout, array: NDArray[np.float32]) -> tuple[Array, Array]:
    found = layout.ranges(array)
    if found is None:
        raise InputError(f"x has {int((~np.isfinite(array)).sum())} values that are NaN or infinite")
    return found


def _packed(integers: Array) -> NDArray[np.uint8]:
    """Two 4-bit integers a byte along the last axis, the first in the low bits."""
    bits = np.atleast_1d(integers.view(np.uint8) & 15)
    if bits.shape[-1] % 2:
        bits = np.concatenate([bits, np.zeros((*bits.shape[:-1], 1), np.uint8)], -1)
    return np.asarray(bits[..., 0::2] | (bits[..., 1::2] << 4), np.uint8)


def _half(array: NDArray[np.float32], dtype: str) -> Array:
    low, high = _ranges(Layout.of(array.shape, None, None), array)
    largest = max(-float(low), float(high))
    # What is nearer to 65504 than to the next power of two is rounded to it.
    if dtype == "float16" and largest >= 65520.0:
        raise InputError(f"x reaches {largest:.6g}, float16 ends at 65504; bfloat16 reaches further")
    bits = np.empty(array.shape, np.uint16)
    _native.to_halves(array.reshape(-1), dtype, bits.reshape(-1))
    return bits.view(np.float16) if dtype == "float16" else bits


def _checked(tensors: dict[str, Array], notes: dict[str, str]) -> QuantizedTensor:
    """The tensor of a file, once everything in it fits together."""
    try:
        note: Any = json.loads(notes.get(_NOTE, ""))
        shape, dtype = tuple(note["shape"]), note["dtype"]
        axis, group_size = note["axis"], note["group_size"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise tensor_file.DamageError("it does not say what it holds") from None
    if dtype not in DTYPES or not all(type(size) is int and size >= 0 for size in shape):
        raise tensor_file.DamageError(f"it holds {dtype!r} of shape {shape}")
    whole = tuple(part for part in (axis, group_size) if part is not None)
    if any(type(part) is not int for part in whole) or (axis is not None and not 0 <= axis < len(shape)):
        raise tensor_file.DamageError(f"its axis is {axis!r}, its group size {group_size!r}")
    if group_size is not None and (group_size < 1 or not shape or shape[-1] % group_size):
        raise tensor_file.DamageError(f"its group size is {group_size} for shape {shape}")
    expected: dict[str, tuple[DTypeLike, tuple[int, ...]]] = {}
    if dtype in INTEGER_RANGES:
        packed = dtype in ("int4", "uint4")
        inner = (*shape[:-1], -(-shape[-1] // 2)) if packed and shape else shape or (1,) if packed else shape
        expected["data"] = (np.int8 if dtype == "int8" else np.uint8, inner)
        each = (
            (*shape[:-1], shape[-1] // group_size) if group_size else () if axis is None else (shape[axis],)
        )
        expected |= {"scale": (np.float32, each), "zero_point": (np.int32, each)}
    else:
        expected["data"] = (np.float16 if dtype == "float16" else np.uint16, shape)
    for name, (kind, size) in expected.items():
        found = tensors.get(name)
        if found is None or found.dtype != kind or found.shape != size:
            raise tensor_file.DamageError(f"its {name} is not {np.dtype(kind)} of shape {size}")
    scale, zero_point = tensors.get("scale"), tensors.get("zero_point")
    if dtype in INTEGER_RANGES and not (np.isfinite(scale) & (np.asarray(scale) > 0)).all():  # type: ignore[arg-type]
        raise tensor_file.DamageError("a scale is not a positive number")
    return QuantizedTensor(tensors["data"], scale, zero_point, shape, dtype, axis, group_size)
