"""What a watch reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vedette.sources.frame import Frame
from vedette.store.records import Box

__all__ = ["Event", "Track"]

BEGINS = frozenset({"appeared", "changed", "entered", "label"})
"""Kinds of events with which something begins to be seen."""

ENDS = frozenset({"gone", "left"})
"""Kinds of events with which something only ceases to be seen."""


@dataclass(eq=False, slots=True)
class Track:
    """Something that is being seen: a line, an object, a label.

    Attributes
    ----------
    kind
        ``text``, ``object`` or ``label``.
    sighting
        Its number in the store; None while it is not there.
    """

    source: str
    task: str
    kind: str
    text: str
    began: float
    box: Box | None = None
    score: float = 1.0
    sighting: int | None = None
    missed: int = 0


@dataclass(eq=False, slots=True)
class Event:
    """Something began or ceased to be seen.

    Attributes
    ----------
    kind
        ``appeared``, ``changed`` or ``gone`` of text; ``entered`` or ``left`` of an object; ``label``.
    source, task
        Where, and by which task.
    at
        Unix time of the frame.
    frame, position_s
        Number of the frame, and where in a recording it stands.
    text, box, score
        The line, or the class of the object or of the frame; where; how surely, 0 to 1.
    previous
        For ``changed`` and ``label``, what stood there before.
    """

    kind: str
    source: str
    task: str
    at: float
    frame: int
    text: str
    box: Box | None = None
    score: float = 1.0
    previous: str | None = None
    position_s: float | None = None
    name: str = ""
    track: Track | None = field(default=None, repr=False)
    ended: Track | None = field(default=None, repr=False)

    @classmethod
    def of(cls, kind: str, frame: Frame, track: Track, ended: Track | None = None) -> Event:
        """Something begins to be seen in a frame, in place of ``ended`` if that is given, or ceases to be."""
        ends = kind in ENDS
        return cls(
            kind,
            track.source,
            track.task,
            frame.at,
            frame.index,
            track.text,
            track.box,
            track.score,
            previous=None if ends or ended is None else ended.text,
            position_s=frame.position_s,
            name=frame.name,
            track=None if ends else track,
            ended=track if ends else ended,
        )

    @property
    def sighting(self) -> int | None:
        """Number of what was seen in the store."""
        track = self.track or self.ended
        return None if track is None else track.sighting

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for JSON; what does not apply is left out."""
        facts: dict[str, Any] = {
            "event": self.kind,
            "source": self.source,
            "task": self.task,
            "at": round(self.at, 3),
            "frame": self.frame,
            "text": self.text,
        }
        if self.previous is not None:
            facts["previous"] = self.previous
        if self.box is not None:
            facts["box"] = [round(value, 1) for value in self.box]
        facts["score"] = round(self.score, 4)
        if self.position_s is not None:
            facts["position_s"] = round(self.position_s, 3)
        if self.name:
            facts["file"] = self.name
        facts["sighting"] = self.sighting
        return facts
