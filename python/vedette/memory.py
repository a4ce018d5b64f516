"""Memory for frames: pools that recycle blocks, arenas, mapped files, and a watch over memory pressure.

A pool pays where several large arrays are in flight at once (decoded frames on their way through a pipeline):
their pages stay in place instead of being asked of the system each time. One array at a time gains nothing
over :func:`numpy.empty`, which recycles that one by itself.

>>> pool = BufferPool()
>>> frame = pool.empty((1080, 1920, 3), "uint8")
>>> frame.fill(0)
>>> del frame  # the block goes back to the pool here
>>> pool.stats().current_bytes
0
"""

from __future__ import annotations

import atexit
import functools
import os
import traceback
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from numpy.typing import DTypeLike, NDArray

from vedette import _native
from vedette._native import Arena, Buffer

__all__ = [
    "TRACEMALLOC_DOMAIN",
    "Arena",
    "Buffer",
    "BufferPool",
    "ClassUse",
    "Leak",
    "PoolStats",
    "Pressure",
    "PressureMonitor",
    "default_pool",
    "map_file",
    "pressure",
]

TRACEMALLOC_DOMAIN = 0x5644
"""Where blocks in use stand in ``tracemalloc``; pass it to ``tracemalloc.DomainFilter``."""

Level = Literal["normal", "warning", "critical"]
"""How short memory is: enough of it, caches should shrink, processes are about to be ended."""


@dataclass(frozen=True)
class ClassUse:
    """What the blocks of one size class amount to."""

    block_bytes: int | None
    """Bytes of one block; None for all blocks beyond the largest class together."""
    current_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class PoolStats:
    """What a pool holds and has done. Sizes are those of whole blocks, whose last fifth may be unused."""

    name: str
    capacity_bytes: int | None
    current_bytes: int
    """In use."""
    peak_bytes: int
    """The most that was in use at once."""
    total_bytes: int
    """Handed out since the pool was made."""
    held_bytes: int
    """Taken from the system and not given back: in use and free."""
    huge_page_bytes: int
    """Of those, in blocks for which the system agreed to try huge pages."""
    hits: int
    """Acquisitions served by a recycled block."""
    misses: int
    """Acquisitions for which the system was asked."""
    page_faults: int
    """Of the whole process since the pool was made."""
    major_page_faults: int
    """Of those (counted apart), the ones that read from a disk."""
    classes: tuple[ClassUse, ...]
    """The size classes that hold something, smallest first."""


@dataclass(frozen=True)
class Leak:
    """A block that has been in use for a while."""

    id: int
    """Number of the acquisition; later ones have higher numbers."""
    size: int
    """Bytes asked for."""
    age_s: float
    stack: traceback.StackSummary
    """The Python calls that took it, outermost first as in a traceback."""

    def __str__(self) -> str:
        head = f"block {self.id}: {self.size} bytes, in use for {self.age_s:.1f} s, taken at\n"
        return head + "".join(self.stack.format())


class BufferPool(_native.BufferPool):
    """A pool of recycled blocks, each 64-byte aligned; safe to use from any thread and after a fork.

    Parameters
    ----------
    capacity_bytes
        The most the pool ever holds, blocks in use and free ones together. None: no limit.
    leak_tracking
        Which acquisitions are recorded for :meth:`check_leaks`: none (``"off"``), one in ``sample_every``
        (``"sampled"``), or all (``"full"``, which costs some 10 microseconds each).
    trim_after_s
        How long a block stays free before it may go back to the system. That happens while the pool is used,
        and in a pool at rest where a :class:`PressureMonitor` runs.
    debug
        Fill blocks with a pattern, check what stands behind them, and keep released ones aside for a while,
        to find writes out of bounds (at ``release``, or through :func:`sys.unraisablehook`) and after the
        release (:meth:`violations`). Slow.
    name
        What the pool is called in its statistics.

    Raises
    ------
    InputError
        A parameter has no meaning.

    Notes
    -----
    ``acquire`` and ``empty`` raise :class:`~vedette.errors.MemoryLimitError` where the capacity or the
    system's memory is exhausted. Sizes fall into four classes a doubling; beyond 32 MiB blocks are exact to a
    page.
    """

    __slots__ = ()

    def __new__(
        cls,
        capacity_bytes: int | None = None,
        leak_tracking: Literal["off", "sampled", "full"] = "off",
        *,
        sample_every: int = 64,
        trim_after_s: float = 10.0,
        debug: bool = False,
        name: str = "",
    ) -> Self:
        return super().__new__(
            cls,
            capacity_bytes,
            leak_tracking,
            sample_every=sample_every,
            trim_after_s=trim_after_s,
            debug=debug,
            name=name,
        )

    def stats(self) -> PoolStats:
        """What the pool holds and has done."""
        facts: dict[str, Any] = dict(self.facts())
        classes = tuple(ClassUse(*use) for use in facts.pop("classes"))
        return PoolStats(**facts, classes=classes)

    def check_leaks(self, *, older_than_s: float = 0.0) -> list[Leak]:
        """The recorded blocks that have been in use for at least ``older_than_s``, oldest first."""
        return [
            Leak(number, size, age_s, _summary(stack))
            for number, size, age_s, stack in self.outstanding(older_than_s)
        ]

    def __repr__(self) -> str:
        stats = self.stats()
        return f"<BufferPool {stats.name!r}: {stats.current_bytes} bytes in use of {stats.held_bytes} held>"


def _summary(stack: list[tuple[str, int, str]]) -> traceback.StackSummary:
    return traceback.StackSummary.from_list(
        [traceback.FrameSummary(file, line, function) for file, line, function in reversed(stack)]
    )


@functools.cache
def default_pool() -> BufferPool:
    """The pool of those who need none of their own; its name is ``"default"``."""
    return _native.BufferPool.__new__(BufferPool, of_process=True)


def map_file(
    path: str | os.PathLike[str],
    dtype: DTypeLike = "uint8",
    shape: int | Sequence[int] | None = None,
    offset: int = 0,
) -> NDArray[Any]:
    """Show a file as a read-only array; its pages come in when touched, once for all processes.

    Parameters
    ----------
    path
        A regular file. Whoever shortens it while it is mapped ends this process when the lost part is
        touched; replace files by renaming, and arrays keep the old one.
    dtype
        Element type; not one that holds Python objects.
    shape
        Lengths of the axes, in C order. None: one axis over all that follows ``offset``.
    offset
        Bytes before the first element.

    Raises
    ------
    InputError
        The file is not a regular one, or too short, or its length is no whole number of elements.
    OSError
        The file cannot be opened.
    """
    return _native.map_file(path, dtype, shape, offset)


@dataclass(frozen=True)
class Pressure:
    """How short memory is, and what says so."""

    level: Level
    used_bytes: int
    """Used of the limit, without what the system can drop at once."""
    limit_bytes: int
    """The limit that is closest to being reached."""
    scope: str
    """Whose limit: ``"machine"``, the directory of a cgroup, or ``"process"`` for one set by a monitor."""
    some_stalled_percent: float | None
    """Share of the last ten seconds in which some task waited for memory; None where it is not known."""
    all_stalled_percent: float | None
    """The same for all tasks at once."""


def pressure(*, root: str | os.PathLike[str] = "/") -> Pressure:
    """Measure memory now.

    Raises
    ------
    OSError
        The system does not say how short memory is.
    """
    level, facts = _native.memory_pressure(root)
    return Pressure(level, *facts)


class PressureMonitor(_native.PressureMonitor):
    """Watch memory, trim the pools of this process when it gets short, and call back when the level changes.

    A thread sleeps until the kernel reports stalls, or until the memory left could have been used up. It also
    gives back what pools at rest have kept beyond their ``trim_after_s``. Use it as a context manager or
    ``close`` it; open ones are closed when the interpreter ends.

    Parameters
    ----------
    callback
        Called on that thread with the new level. What it raises goes to :func:`sys.unraisablehook`. Whatever
        it refers to stays alive until the monitor is closed.
    warning, critical
        Fractions of the memory limit (a cgroup's or the machine's) from which on the level is reached. On
        Linux, tasks that wait for memory for a tenth of the time reach it too; elsewhere, the system's own
        verdict does.
    trim
        Whether pools are trimmed: of blocks that were free for a second at ``"warning"``, of all free ones at
        ``"critical"``.
    root
        Stands for ``/`` where the system describes itself in files (Linux).
    process_limit_bytes
        Physical memory that this process is to stay under: one more limit beside those of the system, with
        the scope ``"process"`` (Linux).

    Raises
    ------
    InputError
        The fractions do not rise from 0 to 1.
    OSError
        The system does not say how short memory is.
    """

    __slots__ = ()

    def __new__(
        cls,
        callback: Callable[[Level], object] | None = None,
        *,
        warning: float = 0.85,
        critical: float = 0.95,
        trim: bool = True,
        root: str | os.PathLike[str] = "/",
        process_limit_bytes: int | None = None,
    ) -> Self:
        monitor = super().__new__(
            cls,
            callback,
            warning=warning,
            critical=critical,
            trim=trim,
            root=root,
            process_limit_bytes=process_limit_bytes,
        )
        _open_monitors.add(monitor)
        return monitor

    def reading(self) -> Pressure:
        """What was measured last."""
        return Pressure(self.level, *self.facts())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_open_monitors: weakref.WeakSet[PressureMonitor] = weakref.WeakSet()


@atexit.register
def _close_monitors() -> None:
    # Before the interpreter ends: a thread that calls back later would find none.
    for monitor in list(_open_monitors):
        monitor.close()
