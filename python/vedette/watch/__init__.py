"""Keeping watch: frames pass a gate, what changed is looked at, what it shows becomes events."""

from vedette.watch.events import Event
from vedette.watch.reading import ReadTask
from vedette.watch.task import Task
from vedette.watch.watcher import Watcher

__all__ = ["Event", "ReadTask", "Task", "Watcher"]
