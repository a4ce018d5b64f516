"""Watches without networks, for tests of what is around the tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.ocr import Change
from vedette.sources import Arrays, Frame, Source
from vedette.store import Store
from vedette.watch import Event, Task, Watcher
from vedette.watch.events import Track


class Levels(Task):
    """A task that reports the first pixel of a frame as a text: a watch without networks."""

    name = "levels"

    def __init__(self, hook: Callable[[Frame], None] = lambda _: None) -> None:
        self._hook = hook
        self._track: Track | None = None

    def process(self, source: str, frame: Frame, change: Change | None) -> list[Event]:
        del change
        self._hook(frame)
        text = f"level {frame.rgb()[0, 0, 0]}"
        before, self._track = self._track, Track(source, self.name, "text", text, frame.at)
        kind = "appeared" if before is None else "changed"
        return [Event(kind, source, self.name, frame.at, frame.index, text, track=self._track, ended=before)]

    def reset(self) -> None:
        """Nothing to forget."""


def gray(value: int, size: tuple[int, int] = (32, 48)) -> NDArray[np.uint8]:
    return np.full((*size, 3), value, np.uint8)


def watch(
    frames: Sequence[NDArray[np.uint8]] | Source,
    path: Path | None = None,
    *,
    task: Levels | None = None,
    **options: Any,
) -> tuple[list[Event], list[tuple[str, str]], Watcher]:
    source = frames if isinstance(frames, Source) else Arrays(frames, name="test")
    events: list[Event] = []
    incidents: list[tuple[str, str]] = []
    watcher = Watcher(
        [source],
        lambda _: [task or Levels()],
        store=None if path is None else Store(path, timeout_s=0.05),
        on_event=events.append,
        on_incident=lambda _, kind, detail: incidents.append((kind, detail)),
        **options,
    )
    watcher.run()
    return events, incidents, watcher
