"""Which cores the workers of a pool run on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Literal

from vedette.errors import InputError

Affinity = Literal["compact", "spread"] | Sequence[int]


def allowed_cores() -> list[int]:
    """The cores this process may use, by the system's numbers."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def worker_cores(affinity: Affinity | None, threads: int, root: Path = Path("/")) -> list[list[int]] | None:
    """The cores of each worker: one each, in turn where there are more workers than cores.

    ``"compact"`` fills the hardware threads of a core, then its neighbours in the same package; ``"spread"``
    takes packages in turn, and one hardware thread of each core before the second of any.

    Raises
    ------
    InputError
        A core that this process may not use, or a system that does not let threads choose.
    """
    if affinity is None:
        return None
    if sys.platform not in ("linux", "win32"):
        raise InputError(f"affinity={affinity!r}: {sys.platform} does not let threads choose their cores")
    allowed = allowed_cores()
    if affinity == "compact":
        order = compact(allowed, root)
    elif affinity == "spread":
        order = spread(allowed, root)
    elif isinstance(affinity, str):
        raise InputError(f'affinity must be "compact", "spread" or a list of cores, got {affinity!r}')
    else:
        order = [int(core) for core in affinity]
        if not order or not set(order) <= set(allowed):
            raise InputError(f"affinity must be some of the cores {allowed} of this process, got {order}")
    return [[order[worker % len(order)]] for worker in range(threads)]


def compact(cores: Sequence[int], root: Path) -> list[int]:
    """Neighbours first."""
    return sorted(cores, key=lambda core: (*_place(core, root), core))


def spread(cores: Sequence[int], root: Path) -> list[int]:
    """Strangers first."""
    near = compact(cores, root)
    packages = []
    for _, package in groupby(near, key=lambda core: _place(core, root)[0]):
        siblings = [list(group) for _, group in groupby(package, key=lambda core: _place(core, root))]
        packages.append([core for rank in zip_longest(*siblings) for core in rank if core is not None])
    return [core for rank in zip_longest(*packages) for core in rank if core is not None]


def _place(core: int, root: Path) -> tuple[int, int]:
    """Package and core within it; a core the system does not describe stands alone."""
    folder = root / f"sys/devices/system/cpu/cpu{core}/topology"
    try:
        package, number = (
            int((folder / name).read_text(encoding="ascii")) for name in ("physical_package_id", "core_id")
        )
    except (OSError, ValueError):
        return 0, core
    return package, number
