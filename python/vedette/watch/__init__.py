"""Keeping watch: frames pass a gate, what changed is looked at, what it shows becomes events."""

from vedette.watch.events import Event
from vedette.watch.model_task import ModelTask
from vedette.watch.options import WatchOptions
from vedette.watch.reading import ReadTask
from vedette.watch.task import Task
from vedette.watch.watcher import Watcher

__all__ = ["Event", "ModelTask", "ReadTask", "Task", "WatchOptions", "Watcher"]
