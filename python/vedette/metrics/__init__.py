"""What a running process has done: one registry, read here, by Prometheus, or by ``vedette top``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vedette.metrics.registry import Buckets, Family, Metric, Registry, registry

if TYPE_CHECKING:
    from vedette.metrics.endpoint import Endpoint, Process, folder, processes, serve

__all__ = [
    "Buckets",
    "Endpoint",
    "Family",
    "Metric",
    "Process",
    "Registry",
    "folder",
    "processes",
    "registry",
    "serve",
]


def __getattr__(name: str) -> Any:
    # Whatever has metrics imports this package; few processes answer questions.
    if name not in {"Endpoint", "Process", "folder", "processes", "serve"}:
        raise AttributeError(f"module 'vedette.metrics' has no attribute {name!r}")
    value = getattr(importlib.import_module("vedette.metrics.endpoint"), name)
    globals()[name] = value
    return value
