"""What is done with a frame that changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from vedette.ocr.change import Change
from vedette.sources.frame import Frame
from vedette.store.records import Box
from vedette.watch.events import Event
from vedette.watch.governor import Step

__all__ = ["Held", "Task"]


class Held(Protocol):
    """Something that several tasks may use and that takes memory, such as a model."""

    @property
    def nbytes(self) -> int | None:
        """Bytes held; None where that is not known."""


class Task(ABC):
    """Looks at the frames of one source.

    Attributes
    ----------
    name
        As events and the store have it.
    redacted_boxes
        Parts of the frame looked at last that no picture may show.
    """

    name: str
    redacted_boxes: Sequence[Box] = ()

    @abstractmethod
    def process(self, source: str, frame: Frame, change: Change | None) -> Sequence[Event]:
        """What began and ceased to be seen in this frame; ``change`` is None where everything may be new."""

    def reset(self) -> None:  # noqa: B027 - many remember nothing
        """Look at the next frame as a whole; what was being seen is still being seen."""

    def use(self, step: Step) -> None:  # noqa: B027 - many have no cheaper way
        """From now on look in this way, as the budget asks."""

    def trim(self) -> None:  # noqa: B027 - many keep nothing
        """Let go of what is only kept to be faster: memory is short."""

    @property
    def models(self) -> Sequence[Held]:
        """What it runs; tasks that share a model each name it."""
        return ()

    @property
    def cache_bytes(self) -> int:
        """Bytes of what is only kept to be faster."""
        return 0
