"""What a model is and how it is used, as a small TOML file says.

::

    name = "people"
    model = "yolov8n.onnx"              # beside this file
    kind = "detection"                  # or "classification"
    labels = ["person", "bicycle"]      # or the path of a file with one a line
    size = [640, 640]                   # height, width
    threshold = 0.4
    only = ["person"]                   # report no others
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from vedette.errors import InputError

__all__ = ["ModelDescription"]


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A model that watches.

    Attributes
    ----------
    name
        Of the task; the file's own name unless given.
    model
        Path of an ONNX or ``.vedette`` file.
    kind
        ``classification``: one score a class; ``detection``: a head of the YOLO family.
    labels
        Names of the classes.
    size
        Height and width of the network's input.
    fit
        ``letterbox`` or ``stretch``.
    scale, mean, deviation
        Pixels are multiplied by ``scale``, then normalised.
    threshold
        Least score of what is reported.
    overlap
        Boxes of a class that overlap by more (intersection over union) are one object.
    objectness
        Whether a detection head has a score for there being an object at all (YOLOv5).
    softmax
        Whether the scores of a classification are made to add up to 1.
    only
        Classes that are reported; all where empty.
    patience
        Processed frames an object may be missing before it has left.
    engine
        ``native`` or ``onnxruntime``, the way back.
    """

    name: str
    model: Path
    kind: Literal["classification", "detection"]
    labels: tuple[str, ...]
    size: tuple[int, int]
    fit: Literal["letterbox", "stretch"] = "letterbox"
    scale: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)
    threshold: float = 0.5
    overlap: float = 0.5
    objectness: bool = False
    softmax: bool = False
    only: tuple[str, ...] = ()
    patience: int = 2
    engine: Literal["native", "onnxruntime"] = "native"

    @classmethod
    def load(cls, path: str | Path) -> ModelDescription:
        """Read a description.

        Raises
        ------
        InputError
            It cannot be read, misses something, or holds what nobody knows.
        """
        path = Path(path)
        try:
            facts = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: {error}") from error
        known = set(cls.__slots__)
        if unknown := sorted(set(facts) - known):
            raise InputError(f"{path}: {', '.join(unknown)}: not known; there are {', '.join(sorted(known))}")
        if missing := [name for name in ("model", "kind", "labels", "size") if name not in facts]:
            raise InputError(f"{path}: {', '.join(missing)} must be given")
        try:
            return cls(**_checked(path, facts))
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: {error}") from error


def _checked(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    def choice(name: str, *allowed: str) -> None:
        if name in facts and facts[name] not in allowed:
            raise InputError(f"{path}: {name} is {facts[name]!r}; it can be {' or '.join(allowed)}")

    choice("kind", "classification", "detection")
    choice("fit", "letterbox", "stretch")
    choice("engine", "native", "onnxruntime")
    labels = facts["labels"]
    if isinstance(labels, str):
        try:
            labels = (path.parent / labels).read_text(encoding="utf-8").split("\n")
        except OSError as error:
            raise InputError(f"{path.parent / labels}: {error.strerror}") from error
    facts["labels"] = tuple(label.strip() for label in labels if label.strip())
    if unknown := set(facts.get("only", ())) - set(facts["labels"]):
        raise InputError(f"{path}: only names {', '.join(sorted(unknown))}, which is no label")
    facts["only"] = tuple(facts.get("only", ()))
    height, width = (int(side) for side in facts["size"])
    if not (0 < height <= 8192 and 0 < width <= 8192):
        raise InputError(f"{path}: size is {height} by {width}; expected up to 8192")
    facts["size"] = (height, width)
    for name in ("mean", "deviation"):
        if name in facts:
            values = tuple(float(value) for value in cast("list[float]", facts[name]))
            if len(values) != 3:
                raise InputError(f"{path}: {name} must have three values, got {len(values)}")
            facts[name] = values
    facts["model"] = path.parent / facts["model"]
    facts.setdefault("name", path.stem)
    return facts
