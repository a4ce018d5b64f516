"""What is done with a frame that changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vedette.ocr.change import Change
from vedette.sources.frame import Frame
from vedette.watch.events import Event

__all__ = ["Task"]


class Task(Protocol):
    """Looks at the frames of one source."""

    name: str

    def process(self, source: str, frame: Frame, change: Change | None) -> Sequence[Event]:
        """What began and ceased to be seen in this frame; ``change`` is None where everything may be new."""

    def reset(self) -> None:
        """Look at the next frame as a whole; what was being seen is still being seen."""
