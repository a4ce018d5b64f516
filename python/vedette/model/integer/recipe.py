"""Recipes: what makes a float model a quantised one without calibration data, as a small JSON file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.errors import InputError, InvalidModelError
from vedette.model.integer.ranges import check_ranges
from vedette.quantization.observers import Range

_VERSION = 1
_MAX_BYTES = 16 << 20
NODE_PRECISIONS = ("int8", "dynamic", "int4", "bfloat16", "float32")
"""What a node can be computed in: integers with ranges known beforehand, or by row; 4-bit weights; floats."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Ranges of the values of a model, and the precision of its nodes.

    Attributes
    ----------
    model
        SHA-256 of the ONNX file that it is for.
    ranges
        Least and greatest number of each value that integers may stand for.
    precisions
        For each way to load the model (``"auto"``, ``"fast"``): nodes that are not done in ``"int8"``, by the
        value they make.
    scales
        Factors by which the channels of values are divided, so that all use the whole range.
    moments
        Mean and root mean square of the channels of the values that convolutions read, which weights are
        rounded for: ``(2, channels)``.
    """

    model: str
    ranges: Mapping[str, Range]
    precisions: Mapping[str, Mapping[str, str]]
    scales: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    moments: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def save(self, path: str | Path) -> Path:
        """Writes the recipe as JSON. Returns the path."""
        path = Path(path)
        try:
            path.write_text(self.to_json(), encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from None
        return path

    def to_json(self) -> str:
        """The recipe as text."""
        fields: dict[str, Any] = {
            "version": _VERSION,
            "model": self.model,
            "precisions": {name: dict(nodes) for name, nodes in self.precisions.items()},
            "ranges": {
                name: [float(f"{low:.6g}"), float(f"{high:.6g}")] for name, (low, high) in self.ranges.items()
            },
        }
        for name, table in (("scales", self.scales), ("moments", self.moments)):
            if table:
                fields[name] = {value: _encoded(numbers) for value, numbers in table.items()}
        lines = (
            json.dumps(fields, ensure_ascii=False, indent=1).replace("[\n   ", "[").replace(",\n   ", ", ")
        )
        return lines.replace("\n  ]", "]") + "\n"

    def refuse_other(self, digest: str, name: str) -> None:
        """Raises InputError unless it is for the model with this SHA-256."""
        if digest != self.model:
            raise InputError(
                f"the recipe is for the model with SHA-256 {self.model[:16]}..., "
                f"{name} has {digest[:16]}...; make "
                f"one for it: vedette quantize {name} --calibrate FOLDER --recipe FILE"
            )


def read_recipe(path: str | Path) -> Recipe:
    """Reads a recipe.

    Raises
    ------
    InputError
        The file is missing, is no recipe, or holds what cannot be.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path} is no recipe: it is larger than {_MAX_BYTES >> 20} MB")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is no recipe: it is not text") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    return parse_recipe(text, str(path))


def parse_recipe(text: str, name: str) -> Recipe:
    """Reads the text of a recipe; ``name`` is how messages call it."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{name} is no recipe: it is not JSON") from None
    if not isinstance(fields, dict) or "version" not in fields:
        raise InputError(f"{name} is no recipe")
    if fields["version"] != _VERSION:
        raise InputError(f"{name} is a recipe of version {fields['version']!r}, {_VERSION} is the one known")
    ranges, precisions = fields.get("ranges"), fields.get("precisions")
    if (
        not isinstance(fields.get("model"), str)
        or not isinstance(ranges, dict)
        or not isinstance(precisions, dict)
    ):
        raise InputError(f"{name} is no recipe: it lacks the model, ranges or precisions")
    if not all(isinstance(span, list) for span in ranges.values()):
        raise InputError(f"{name}: its ranges are not pairs of numbers")
    check_ranges(ranges)
    for nodes in precisions.values():
        if not isinstance(nodes, dict) or not all(kind in NODE_PRECISIONS for kind in nodes.values()):
            raise InputError(f"{name}: its precisions are not among {', '.join(NODE_PRECISIONS)}")
    scales, moments = (_decoded(fields.get(key, {}), name, key) for key in ("scales", "moments"))
    if not all((numbers > 0).all() for numbers in scales.values()):
        raise InputError(f"{name}: its scales are not all above zero")
    spans = {value: (float(low), float(high)) for value, (low, high) in ranges.items()}
    if any(numbers.size % 2 for numbers in moments.values()):
        raise InputError(f"{name}: its moments are not pairs")
    pairs = {value: numbers.reshape(2, -1) for value, numbers in moments.items()}
    return Recipe(fields["model"], spans, precisions, scales, pairs)


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidModelError(f"cannot read {path}: {error.strerror}") from None


def _encoded(numbers: NDArray[np.float32]) -> str:
    return base64.b64encode(numbers.astype("<f2").tobytes()).decode()


def _decoded(table: Any, name: str, key: str) -> dict[str, NDArray[np.float32]]:
    found = {}
    try:
        for value, text in table.items():
            found[value] = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{name}: its {key} cannot be read") from None
    if not all(np.isfinite(numbers).all() for numbers in found.values()):
        raise InputError(f"{name}: its {key} are not finite")
    return found
