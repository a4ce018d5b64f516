"""Measurements against what people use today, as ``vedette bench`` runs them.

image   each operation against OpenCV, Pillow and NumPy, level by level
memory  eight frames in flight, and what a call costs: pools against NumPy
tensor  products, arithmetic and reductions against NumPy, level by level
quantization  rounding to few bits and back against NumPy, level by level
watch   a screen recording: Vedette against PyAV and RapidOCR on ONNX Runtime for every sampled frame
flow    batchers, maps, pipelines, budgets and idle processes: beside their targets, and against peers

Both sides take turns and the ratio of a pair is what counts; a ratio is the median over pairs. Groups that
need the repository are in its ``bench/`` folder and build on this.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Protocol

from vedette import runtime
from vedette.errors import VedetteError

__all__ = ["GROUPS", "Row", "machine", "run"]

GROUPS = ("image", "memory", "tensor", "quantization", "watch", "flow")

PACKAGES = {"cv2": "opencv-python-headless", "PIL": "pillow"}
"""What to install for a module that is not there."""


class Row(Protocol):
    """A measurement."""

    def line(self) -> str:
        """One row of the group's table."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""


def run(group: str, threads: list[int], pairs: int, **settings: Any) -> tuple[str, Iterator[Row]]:
    """The header of a group's table, and its measurements as they are made.

    ``settings`` are those of the group ``watch``.

    Raises
    ------
    VedetteError
        A peer that the group measures against is not installed.
    """
    try:
        module = importlib.import_module(f"vedette.bench.{group}")
        rows: Iterator[Row] = module.run(threads, pairs, **settings)
    except ModuleNotFoundError as error:
        package = PACKAGES.get(error.name or "", error.name)
        raise VedetteError(f"the group {group} needs {package}: pip install {package}") from error
    header: str = module.HEADER
    return header, rows


def machine(packages: Iterable[str] = ("opencv-python-headless", "pillow")) -> dict[str, Any]:
    """What figures are measured on, and with."""
    versions = {}
    for name in ("vedette", "numpy", *packages):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "cores": runtime.effective_cores(),
        "isa": runtime.isa(),
        "features": runtime.cpu_features(),
        "versions": versions,
    }
