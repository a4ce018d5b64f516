"""Both sides in one process: pairs of calls, every level by itself, and the floor that memory sets."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from vedette import runtime

HEADER = (
    f"{'case':42}{'threads':>8}{'ours ms':>9}{'peer ms':>9}{'speedup':>9}{'target':>14}{'floor ms':>10}"
    f"{'ceiling':>9}  peer; levels"
)


@dataclass(frozen=True)
class Case:
    """One operation: ours at a level, the peer's, and the megabytes that must move.

    ``in_cache`` says that they stay in a core's own cache; ``levels`` is False where there is only one.
    ``target`` is the least speedup that is wanted, ``limit_ms`` the most time.
    """

    name: str
    peer: str
    ours: Callable[[str], Any]
    theirs: Callable[[], Any]
    megabytes: float
    in_cache: bool = False
    levels: bool = True
    target: float | None = None
    limit_ms: float | None = None


@dataclass(frozen=True)
class Measured:
    """Medians in milliseconds; ``speedup`` is the peer's time over ours, the median over pairs.

    ``floor_ms`` is what memory or arithmetic allow at best, zero where nobody knows.
    """

    group: str
    case: str
    peer: str
    threads: int
    ours_ms: float
    peer_ms: float
    speedup: float
    floor_ms: float
    levels_ms: dict[str, float]
    target: float | None = None
    limit_ms: float | None = None

    @property
    def ceiling(self) -> float | None:
        """The speedup at the floor: no code is faster than that beside this peer on this machine."""
        return self.peer_ms / self.floor_ms if self.floor_ms else None

    @property
    def met(self) -> bool | None:
        """Whether the target was reached, where there is one."""
        if self.limit_ms is not None:
            return self.ours_ms <= self.limit_ms
        return None if self.target is None else self.speedup >= self.target

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"ceiling": self.ceiling, "met": self.met}

    def line(self) -> str:
        """One row of the table."""
        levels = ", ".join(f"{isa} {ms:.3f}" for isa, ms in self.levels_ms.items())
        wanted = f"{self.target:.1f}" if self.target is not None else ""
        if self.limit_ms is not None:
            wanted = f"{self.limit_ms:g} ms"
        if self.met is not None:
            wanted += " met" if self.met else " missed"
        ceiling = f"{self.ceiling:.2f}" if self.ceiling else ""
        return (
            f"{self.case:42}{self.threads:8}{self.ours_ms:9.3f}{self.peer_ms:9.3f}"
            f"{self.speedup:9.2f}{wanted:>14}{self.floor_ms:10.3f}{ceiling:>9}  {self.peer}; {levels}"
        )


def timed(call: Callable[[], Any]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


@cache
def copy_speed(size: int = 8 << 20) -> float:
    """Megabytes read and written in a millisecond by a copy of ``size`` bytes, by default of 8 MB."""
    source = np.ones(size, np.uint8)
    target = np.empty_like(source)

    def copy() -> None:
        target[:] = source

    best = min(timed(copy) for _ in range(50))
    return 2 * size / 1e6 / best


IN_CACHE = 1 << 19
"""Bytes whose copy stays in a core's own cache."""


def measure(case: Case, threads: int, pairs: int, speed: float, group: str) -> Measured:
    """Time both sides in turn, then every level by itself."""
    best = runtime.isa()

    def ours() -> None:
        case.ours(best)

    theirs = case.theirs
    ours()
    theirs()
    samples = []
    for index in range(pairs):
        if index % 2:
            second, first = timed(theirs), timed(ours)
        else:
            first, second = timed(ours), timed(theirs)
        samples.append((first, second))
    levels = {
        isa: min(timed(lambda isa=isa: case.ours(isa)) for _ in range(3))  # type: ignore[misc]
        for isa in (runtime.available_isas() if case.levels else ())
    }
    mine, peer = zip(*samples, strict=True)
    return Measured(
        group,
        case.name,
        case.peer,
        threads,
        statistics.median(mine),
        statistics.median(peer),
        statistics.median(b / a for a, b in samples),
        case.megabytes / (copy_speed(IN_CACHE) if case.in_cache else speed),
        levels,
        case.target,
        case.limit_ms,
    )
