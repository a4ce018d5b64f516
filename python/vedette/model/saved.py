"""Compiled models in files of their own, ``.vedette``, that load without onnx and map their weights.

A file is in the safetensors format, with the program of the native engine in its notes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedette import tensor_file
from vedette.errors import InvalidModelError, ModelError
from vedette.model.graph import Array
from vedette.tensor_file import CODES, DamageError, TensorFile

SUFFIX = ".vedette"

_VERSION = "1"
_PROGRAM, _PORTS, _NOTES, _FORMAT = "vedette.program", "vedette.ports", "vedette.notes", "vedette.version"


@dataclass(frozen=True, slots=True)
class SavedModel:
    """What a ``.vedette`` file holds."""

    program: str
    constants: list[Array]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    metadata: dict[str, str]
    file: TensorFile | None = None
    """What the constants are views of, if they are."""


def write(path: Path, model: SavedModel) -> None:
    """Writes a file, and puts it in place only when it is whole."""
    notes = {
        _FORMAT: _VERSION,
        _PROGRAM: model.program,
        _PORTS: json.dumps({"inputs": model.inputs, "outputs": model.outputs}),
        _NOTES: json.dumps(model.metadata),
    }
    try:
        tensor_file.write(path, {str(at): array for at, array in enumerate(model.constants)}, notes)
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror}") from None


def read(path: Path) -> SavedModel:
    """Maps a file; its constants are views of it."""
    try:
        return _parse(tensor_file.read(path))
    except OSError as error:
        raise InvalidModelError(f"cannot read {path}: {error.strerror}") from None
    except DamageError as error:
        raise InvalidModelError(f"{path} is not a saved model, or it is damaged: {error}") from None


def _parse(file: TensorFile) -> SavedModel:
    tensors, notes = file.tensors, file.notes
    if not all(key in notes for key in (_PROGRAM, _PORTS, _NOTES)):
        raise DamageError("it holds no program")
    if notes.get(_FORMAT) != _VERSION:
        raise DamageError(f"it is of version {notes.get(_FORMAT)!r}, {_VERSION!r} is the one known")
    ports, metadata = _json(notes[_PORTS]), _json(notes[_NOTES])
    if not all(isinstance(value, str) for value in metadata.values()):
        raise DamageError("its notes are not text")
    if any(str(at) not in tensors for at in range(len(tensors))):
        raise DamageError("its tensors are not numbered")
    constants = [tensors[str(at)] for at in range(len(tensors))]
    return SavedModel(
        notes[_PROGRAM], constants, _ports(ports, "inputs"), _ports(ports, "outputs"), metadata, file
    )


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise DamageError("its header is not JSON") from None
    if not isinstance(value, dict):
        raise DamageError("its header is not a JSON object")
    return value


def _ports(ports: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = ports.get(kind)
    if not isinstance(found, list):
        raise DamageError(f"it does not say what its {kind} are")
    if not all(isinstance(port, dict) and _is_port(port) for port in found):
        raise DamageError(f"it does not say what its {kind} are")
    return found


def _is_port(port: dict[str, Any]) -> bool:
    if not {"name", "dtype", "shape"} <= port.keys():
        return False
    name, dtype, shape = port["name"], port["dtype"], port["shape"]
    shaped = shape is None or (
        isinstance(shape, list) and all(size is None or type(size) in (int, str) for size in shape)
    )
    typed = dtype is None or (isinstance(dtype, str) and dtype in CODES)
    return isinstance(name, str) and typed and shaped
