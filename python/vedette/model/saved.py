"""Compiled models in files of their own, ``.vedette``, that load without onnx and map their weights.

A file is in the safetensors format (a length, a JSON header, the tensors back to back), with the program of
the native engine in the header's metadata. Everything in the header is checked against the size of the file
before any of it is used.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from vedette.errors import InvalidModelError, ModelError
from vedette.model.graph import Array
from vedette.model.onnx_tensors import numpy_dtype

SUFFIX = ".vedette"

_VERSION = "1"
_PROGRAM, _PORTS, _NOTES, _FORMAT = "vedette.program", "vedette.ports", "vedette.notes", "vedette.version"
_MAX_HEADER_BYTES = 100 << 20
# Tensors start where the widest vector register can be loaded from aligned memory.
_ALIGNMENT = 64

_DTYPES = {
    "F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16", "I8": "int8", "U8": "uint8",
    "I16": "int16", "U16": "uint16", "I32": "int32", "U32": "uint32", "I64": "int64", "U64": "uint64",
    "BOOL": "bool",
}  # fmt: skip
_CODES = {name: code for code, name in _DTYPES.items()}


@dataclass(frozen=True, slots=True)
class SavedModel:
    """What a ``.vedette`` file holds."""

    program: str
    constants: list[Array]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    metadata: dict[str, str]


def write(path: Path, model: SavedModel) -> None:
    """Writes a file, and puts it in place only when it is whole."""
    arrays = [
        np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        for array in model.constants
    ]
    header = _header(arrays, model)
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(len(header).to_bytes(8, "little"))
                file.write(header)
                for array in arrays:
                    file.write(array.tobytes())
            except BaseException:
                os.unlink(file.name)
                raise
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror}") from None


def _header(arrays: Iterable[Array], model: SavedModel) -> bytes:
    entries: dict[str, Any] = {
        "__metadata__": {
            _FORMAT: _VERSION,
            _PROGRAM: model.program,
            _PORTS: json.dumps({"inputs": model.inputs, "outputs": model.outputs}),
            _NOTES: json.dumps(model.metadata),
        }
    }
    offset = 0
    for at, array in enumerate(arrays):
        end = offset + array.nbytes
        entries[str(at)] = {
            "dtype": _CODES[array.dtype.name],
            "shape": array.shape,
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(entries).encode()
    return text + b" " * (-(len(text) + 8) % _ALIGNMENT)


def read(path: Path) -> SavedModel:
    """Maps a file; its constants are views of it."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 8:
                raise InvalidModelError(f"{path} is not a saved model: it has {size} bytes")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise InvalidModelError(f"cannot read {path}: {error.strerror}") from None
    try:
        return _parse(data, size)
    except _DamageError as error:
        raise InvalidModelError(f"{path} is not a saved model, or it is damaged: {error}") from None


class _DamageError(Exception):
    pass


def _parse(data: mmap.mmap, size: int) -> SavedModel:
    length = int.from_bytes(data[:8], "little")
    if length > min(size - 8, _MAX_HEADER_BYTES):
        raise _DamageError(f"its header would have {length} bytes")
    header = _json(data[8 : 8 + length], dict)
    notes = header.pop("__metadata__", None)
    if not isinstance(notes, dict) or not all(
        isinstance(notes.get(key), str) for key in (_PROGRAM, _PORTS, _NOTES)
    ):
        raise _DamageError("it holds no program")
    if notes.get(_FORMAT) != _VERSION:
        raise _DamageError(f"it is of version {notes.get(_FORMAT)!r}, {_VERSION!r} is the one known")
    ports = _json(notes[_PORTS], dict)
    metadata = _json(notes[_NOTES], dict)
    if not all(isinstance(value, str) for value in metadata.values()):
        raise _DamageError("its notes are not text")
    constants = [_tensor(data, 8 + length, size, header.get(str(at))) for at in range(len(header))]
    spans = sorted(tuple(entry["data_offsets"]) for entry in header.values())
    if any(end > start for (_, end), (start, _) in pairwise(spans)):
        raise _DamageError("its tensors overlap")
    return SavedModel(notes[_PROGRAM], constants, _ports(ports, "inputs"), _ports(ports, "outputs"), metadata)


def _json(text: bytes | str, kind: type[dict[str, Any]]) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise _DamageError("its header is not JSON") from None
    if not isinstance(value, kind):
        raise _DamageError("its header is not a JSON object")
    return value


def _tensor(data: mmap.mmap, start: int, size: int, entry: object) -> Array:
    if not isinstance(entry, Mapping):
        raise _DamageError("its tensors are not numbered")
    code: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not isinstance(code, str) or code not in _DTYPES:
        raise _DamageError(f"a tensor has element type {code!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise _DamageError("a tensor has a shape or offsets that are not sizes")
    dtype = numpy_dtype(_DTYPES[code])
    count, (begin, end) = prod(shape), offsets
    if end - begin != count * dtype.itemsize or start + end > size:
        raise _DamageError(f"a tensor of shape {shape} lies at {begin} to {end} of {size} bytes")
    return np.frombuffer(data, dtype.newbyteorder("<"), count, start + begin).reshape(shape)


def _are_sizes(value: Any) -> bool:
    # bool is an int to isinstance, and 2**63 elements are no shape.
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 1 << 62 for size in value)


def _ports(ports: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = ports.get(kind)
    if not isinstance(found, list):
        raise _DamageError(f"it does not say what its {kind} are")
    for port in found:
        shape = port.get("shape") if isinstance(port, dict) else 0
        named = isinstance(port, dict) and isinstance(port.get("name"), str)
        typed = isinstance(port, dict) and (port.get("dtype") is None or port.get("dtype") in _CODES)
        shaped = shape is None or (
            isinstance(shape, list) and all(size is None or type(size) in (int, str) for size in shape)
        )
        if not (named and typed and shaped):
            raise _DamageError(f"it does not say what its {kind} are")
    return found
