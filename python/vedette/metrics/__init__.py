"""What a running process has done: one registry, read here, by Prometheus, or by ``vedette top``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vedette.lazy import lazy_attributes
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

# Whatever has metrics imports this package; few processes answer questions.
_ENDPOINT = ("Endpoint", "Process", "folder", "processes", "serve")

__getattr__ = lazy_attributes(__name__, dict.fromkeys(_ENDPOINT, "vedette.metrics.endpoint"))
