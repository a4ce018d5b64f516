"""Keeping watch: frames pass a gate, what changed is looked at, what it shows becomes events."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vedette.watch.events import Event
    from vedette.watch.model_task import ModelTask
    from vedette.watch.options import WatchOptions
    from vedette.watch.reading import ReadTask
    from vedette.watch.task import Task
    from vedette.watch.watcher import Watcher

__all__ = ["Event", "ModelTask", "ReadTask", "Task", "WatchOptions", "Watcher"]

_FILES = {
    "Event": "events",
    "ModelTask": "model_task",
    "ReadTask": "reading",
    "Task": "task",
    "WatchOptions": "options",
    "Watcher": "watcher",
}


def __getattr__(name: str) -> Any:
    # Whoever asks a running watch needs nothing of what one is made of.
    if name not in _FILES:
        raise AttributeError(f"module 'vedette.watch' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"vedette.watch.{_FILES[name]}"), name)
    globals()[name] = value
    return value
