"""Keeping watch: frames pass a gate, what changed is looked at, what it shows becomes events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vedette.lazy import lazy_attributes

if TYPE_CHECKING:
    from vedette.watch.events import Event
    from vedette.watch.model_task import ModelTask
    from vedette.watch.options import WatchOptions
    from vedette.watch.reading import ReadTask
    from vedette.watch.task import Task
    from vedette.watch.watcher import Watcher

__all__ = ["Event", "ModelTask", "ReadTask", "Task", "WatchOptions", "Watcher"]

# Whoever asks a running watch needs nothing of what one is made of.
__getattr__ = lazy_attributes(
    __name__,
    {
        "Event": "vedette.watch.events",
        "ModelTask": "vedette.watch.model_task",
        "ReadTask": "vedette.watch.reading",
        "Task": "vedette.watch.task",
        "WatchOptions": "vedette.watch.options",
        "Watcher": "vedette.watch.watcher",
    },
)
