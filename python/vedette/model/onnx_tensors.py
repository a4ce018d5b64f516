"""Tensors of an ONNX file, checked against their declared shape before anything is allocated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vedette.errors import InvalidModelError, UnsupportedModelError
from vedette.model.graph import Array
from vedette.tensor_file import is_possible, numpy_dtype

if TYPE_CHECKING:
    from onnx import TensorProto

DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip
"""NumPy names of the ONNX element types the engine knows."""

# Where ONNX keeps the elements of each type when they are not raw bytes; 16-bit floats are bit patterns.
_FIELDS = {
    1: ("float_data", np.float32), 2: ("int32_data", np.int32), 3: ("int32_data", np.int32),
    4: ("int32_data", np.int32), 5: ("int32_data", np.int32), 6: ("int32_data", np.int32),
    7: ("int64_data", np.int64), 9: ("int32_data", np.int32), 10: ("int32_data", np.int32),
    11: ("double_data", np.float64), 12: ("uint64_data", np.uint64), 13: ("uint64_data", np.uint64),
    16: ("int32_data", np.int32),
}  # fmt: skip

FOUR_BITS = {21: "uint8", 22: "int8"}
"""What elements of uint4 and int4 are read as, one a byte; only constants have them."""


def dtype_name(element_type: int, where: str) -> str:
    """The NumPy name of an ONNX element type, or UnsupportedModelError."""
    name = DTYPES.get(element_type)
    if name is None:
        from onnx import TensorProto

        known = element_type in TensorProto.DataType.values()
        other = TensorProto.DataType.Name(element_type).lower() if known else f"number {element_type}"
        raise UnsupportedModelError(
            f"{where} has element type {other}, which the native engine does not have"
        )
    return name


def read_tensor(tensor: TensorProto, folder: Path | None, where: str) -> Array:
    """The elements of a tensor.

    Parameters
    ----------
    folder : Path or None
        Where the model lies; data outside the file is looked for there and nowhere else.
    where : str
        How messages call the tensor.
    """
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        raise InvalidModelError(f"{where} has a negative dimension: {list(shape)}")
    if not is_possible(shape):
        raise InvalidModelError(f"{where} has a shape that no array can have: {list(shape)}")
    count = math.prod(shape)
    if tensor.data_type in FOUR_BITS:
        return _read_nibbles(tensor, folder, count, where).reshape(shape)
    dtype = numpy_dtype(dtype_name(tensor.data_type, where))
    if tensor.HasField("segment"):
        raise UnsupportedModelError(f"{where} is split in segments")
    if tensor.data_location == 1:
        return _read_external(tensor, folder, dtype, count, where).reshape(shape)
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if len(raw) != count * dtype.itemsize:
            raise InvalidModelError(
                f"{where} has {len(raw)} bytes, its shape {list(shape)} of {dtype.name}"
                f" needs {count * dtype.itemsize}"
            )
        return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(shape).astype(dtype, copy=False)
    field, stored = _FIELDS[tensor.data_type]
    data = getattr(tensor, field)
    if len(data) != count:
        raise InvalidModelError(f"{where} has {len(data)} elements, its shape {list(shape)} needs {count}")
    array = np.fromiter(data, stored, count)
    if tensor.data_type in (10, 16):
        return array.astype(np.uint16).view(dtype).reshape(shape)
    return array.astype(dtype, copy=False).reshape(shape)


def _read_nibbles(tensor: TensorProto, folder: Path | None, count: int, where: str) -> Array:
    """Two elements a byte, the first in the low bits."""
    size = -(-count // 2)
    if tensor.data_location == 1:
        packed = _read_external(tensor, folder, np.dtype(np.uint8), size, where)
    elif tensor.HasField("raw_data"):
        packed = np.frombuffer(tensor.raw_data, np.uint8)
    else:
        packed = np.fromiter(tensor.int32_data, np.int32, len(tensor.int32_data)).astype(np.uint8)
    if packed.size != size:
        raise InvalidModelError(
            f"{where} has {packed.size} bytes of 4-bit elements, its shape {list(tensor.dims)} needs {size}"
        )
    elements = np.stack([packed & 15, packed >> 4], -1).reshape(-1)[:count]
    return elements if tensor.data_type == 21 else ((elements ^ 8).view(np.int8) - np.int8(8))


def _read_external(
    tensor: TensorProto, folder: Path | None, dtype: np.dtype[np.generic], count: int, where: str
) -> Array:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise InvalidModelError(f"{where} has its data in file {location!r}, and this model has no folder")
    root = folder.resolve()
    path = (root / location).resolve()
    if (
        not location
        or Path(location).is_absolute()
        or ".." in Path(location).parts
        or not path.is_relative_to(root)
    ):
        raise InvalidModelError(f"{where} has its data in {location!r}, outside the folder of the model")
    if not path.is_file():
        raise InvalidModelError(f"{where} has its data in {location!r}, which is not a file beside the model")
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", count * dtype.itemsize))
    except ValueError:
        raise InvalidModelError(f"{where} has an offset or a length that is not a number") from None
    size = path.stat().st_size
    if length != count * dtype.itemsize or offset < 0 or offset + length > size:
        raise InvalidModelError(
            f"{where} needs {count * dtype.itemsize} bytes and names {length} at {offset} of {location!r},"
            f" which has {size}"
        )
    return np.fromfile(path, dtype.newbyteorder("<"), count, offset=offset).astype(dtype, copy=False)
