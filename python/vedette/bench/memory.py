"""Pools against NumPy: eight 1080p frames in flight, and the cost of a call.

Frames are acquired and dropped; acquired and touched once a page, which is when the system provides one, and
so is what having a frame costs; or acquired and written whole, which adds what writing costs on either side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vedette.bench.pairs import HEADER, Record, Worker, compare
from vedette.bench.worker import Side
from vedette.memory import default_pool

__all__ = ["HEADER", "SIDES", "run"]

FRAMES = 8
SHAPE = (1080, 1920, 3)
ROUNDS = 20
CALLS = 100_000

Allocate = Callable[[tuple[int, ...]], np.ndarray[Any, Any]]


def run(_threads: list[int], pairs: int) -> Iterator[Record]:
    """Time both sides in turn, each on one thread."""

    def faults(ours: int, theirs: int) -> str:
        return f"{ours / ROUNDS:.0f} / {theirs / ROUNDS:.0f} page faults a round"

    def frames(touch: str, case: str) -> Record:
        ours, theirs = Worker("vedette-frames", touch=touch), Worker("numpy-frames", touch=touch)
        return compare("memory", case, ours, theirs, threads=1, pairs=pairs, agree=faults)

    yield frames("none", f"{ROUNDS} x {FRAMES} frames, acquired")
    yield frames("page", f"{ROUNDS} x {FRAMES} frames, a byte a page")
    yield frames("all", f"{ROUNDS} x {FRAMES} frames, all bytes")
    for size in (4096, 1 << 20):
        ours, theirs = Worker("vedette-calls", size=size), Worker("numpy-calls", size=size)
        case = f"{CALLS} x {size >> 10} KiB"
        yield compare("memory", case, ours, theirs, threads=1, pairs=pairs, agree=lambda *_: "")


def vedette_frames(touch: str) -> Side:
    """Frames of a pool."""
    from vedette.memory import BufferPool

    pool = BufferPool()
    return _frames(lambda shape: pool.empty(shape, np.uint8), touch)


def numpy_frames(touch: str) -> Side:
    """Frames of NumPy."""
    return _frames(lambda shape: np.empty(shape, np.uint8), touch)


def _frames(allocate: Allocate, touch: str) -> Side:
    def call() -> None:
        for _ in range(ROUNDS):
            frames = [allocate(SHAPE) for _ in range(FRAMES)]
            for frame in frames:
                if touch == "all":
                    frame.fill(1)
                elif touch == "page":
                    frame.reshape(-1)[::4096] = 1

    def faults() -> int:
        call()
        before = default_pool().stats().page_faults
        call()
        return default_pool().stats().page_faults - before

    return call, faults


def vedette_calls(size: int) -> Side:
    """Acquire and release."""
    from vedette.memory import BufferPool

    pool = BufferPool()

    def call() -> None:
        acquire = pool.acquire
        for _ in range(CALLS):
            acquire(size).release()

    return call, lambda: None


def numpy_calls(size: int) -> Side:
    """An array made and dropped."""

    def call() -> None:
        empty, dtype = np.empty, np.dtype(np.uint8)
        for _ in range(CALLS):
            empty(size, dtype)

    return call, lambda: None


SIDES: dict[str, Callable[..., Side]] = {
    "vedette-frames": vedette_frames,
    "numpy-frames": numpy_frames,
    "vedette-calls": vedette_calls,
    "numpy-calls": numpy_calls,
}
