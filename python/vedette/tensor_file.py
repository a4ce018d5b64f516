"""Arrays in safetensors files: a length, a JSON header, the tensors back to back.

Everything in the header is checked against the size of the file before any of it is used.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CODES", "DamageError", "TensorFile", "is_possible", "numpy_dtype", "read", "write"]

Array = NDArray[Any]

_MAX_HEADER_BYTES = 100 << 20
# Tensors start where the widest vector register can be loaded from aligned memory.
_ALIGNMENT = 64
# Every NumPy has room for so many axes, and the bytes of so many elements of any type can be counted.
_MOST_AXES, _MOST_ELEMENTS = 32, sys.maxsize // 16

_DTYPES = {
    "F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16", "I8": "int8", "U8": "uint8",
    "I16": "int16", "U16": "uint16", "I32": "int32", "U32": "uint32", "I64": "int64", "U64": "uint64",
    "BOOL": "bool",
}  # fmt: skip
CODES = {name: code for code, name in _DTYPES.items()}
"""How the format calls each element type."""


class DamageError(Exception):
    """A file is not what it claims to be; the message says why."""


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A mapped file: its tensors, which are views of it, and its notes."""

    tensors: dict[str, Array]
    notes: dict[str, str]
    _data: mmap.mmap

    def is_shortened(self) -> bool:
        """Whether bytes are gone since it was mapped: whoever touches those ends the process."""
        return self._data.size() < len(self._data)


def numpy_dtype(name: str) -> np.dtype[np.generic]:
    """The NumPy type of that name; bfloat16 comes from ml_dtypes, which onnx requires."""
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[np.generic] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(name)


def write(path: Path, tensors: Mapping[str, Array], notes: Mapping[str, str]) -> None:
    """Writes a file, and puts it in place only when it is whole. Raises OSError."""
    arrays = {
        name: np.ascontiguousarray(array)
        .astype(array.dtype.newbyteorder("<"), copy=False)
        .reshape(array.shape)
        for name, array in tensors.items()
    }
    header = _header(arrays, notes)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(len(header).to_bytes(8, "little"))
            file.write(header)
            for array in arrays.values():
                file.write(array.tobytes())
        except BaseException:
            os.unlink(file.name)
            raise
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def _header(arrays: Mapping[str, Array], notes: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(notes)}
    offset = 0
    for name, array in arrays.items():
        end = offset + array.nbytes
        entries[name] = {
            "dtype": CODES[array.dtype.name],
            "shape": array.shape,
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(entries).encode()
    return text + b" " * (-(len(text) + 8) % _ALIGNMENT)


def read(path: Path) -> TensorFile:
    """Maps a file.

    Raises
    ------
    DamageError
        It is no such file, or it is damaged.
    OSError
        It cannot be opened.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise DamageError(f"it has {size} bytes")
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    length = int.from_bytes(data[:8], "little")
    if length > min(size - 8, _MAX_HEADER_BYTES):
        raise DamageError(f"its header would have {length} bytes")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        raise DamageError("its header is not JSON") from None
    if not isinstance(header, dict):
        raise DamageError("its header is not a JSON object")
    notes = header.pop("__metadata__", {})
    if not isinstance(notes, dict) or not all(isinstance(text, str) for text in notes.values()):
        raise DamageError("its notes are not text")
    tensors = {name: _tensor(data, 8 + length, size, entry) for name, entry in header.items()}
    spans = sorted(tuple(entry["data_offsets"]) for entry in header.values())
    if any(end > start for (_, end), (start, _) in pairwise(spans)):
        raise DamageError("its tensors overlap")
    return TensorFile(tensors, notes, data)


def is_possible(shape: Sequence[int]) -> bool:
    """Whether an array can have these sizes; without elements it is as limited in its other sizes."""
    return len(shape) <= _MOST_AXES and prod(filter(None, shape)) <= _MOST_ELEMENTS


def _tensor(data: mmap.mmap, start: int, size: int, entry: object) -> Array:
    if not isinstance(entry, Mapping):
        raise DamageError("a tensor is not described")
    code: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not isinstance(code, str) or code not in _DTYPES:
        raise DamageError(f"a tensor has element type {code!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2 or not is_possible(shape):
        raise DamageError("a tensor has a shape or offsets that are not sizes")
    dtype = numpy_dtype(_DTYPES[code])
    count, (begin, end) = prod(shape), offsets
    if end - begin != count * dtype.itemsize or start + end > size:
        raise DamageError(f"a tensor of shape {shape} lies at {begin} to {end} of {size} bytes")
    return np.frombuffer(data, dtype.newbyteorder("<"), count, start + begin).reshape(shape)


def _are_sizes(value: Any) -> bool:
    # bool is an int to isinstance, and 2**63 elements are no shape.
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 1 << 62 for size in value)
