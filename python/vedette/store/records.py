"""What goes into the store and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the frame."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something that was seen from one time to another: a line of text, an object, a label.

    Attributes
    ----------
    source
        Name of the source it was seen at.
    kind
        ``text``, ``object`` or ``label``.
    text
        The line, or the name of the object's or label's class.
    at
        Unix time of the frame it was first seen in.
    box
        Where it was, if it has a place.
    score
        Confidence, 0 to 1.
    task
        Name of the task that saw it.
    frame
        Number of the frame.
    """

    source: str
    kind: str
    text: str
    at: float
    box: Box | None = None
    score: float = 1.0
    task: str = "read"
    frame: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """A sighting that a search found; ``ended`` is None while it is still there."""

    id: int
    source: str
    kind: str
    text: str
    began: float
    ended: float | None
    box: Box | None
    score: float
    task: str
    thumbnail: int | None

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for JSON."""
        return {
            "id": self.id,
            "source": self.source,
            "kind": self.kind,
            "text": self.text,
            "began": self.began,
            "ended": self.ended,
            "box": None if self.box is None else list(self.box),
            "score": round(self.score, 4),
            "task": self.task,
            "thumbnail": self.thumbnail,
        }


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of the timeline at one source: how much began in it, its longest texts, what went wrong."""

    source: str
    began: float
    ended: float
    sightings: int
    texts: tuple[str, ...]
    incidents: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for JSON."""
        return {
            "source": self.source,
            "began": self.began,
            "ended": self.ended,
            "sightings": self.sightings,
            "texts": list(self.texts),
            "incidents": list(self.incidents),
        }


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Size and content of a store."""

    path: str
    bytes: int
    wal_bytes: int
    sightings: int
    thumbnails: int
    oldest: float | None
    newest: float | None
    schema: int
