"""Pools against NumPy: eight 1080p frames in flight, and the cost of a call.

Frames are acquired and touched once a page, which is when the system provides one, and so is what having a
frame costs; acquired and written whole, which adds what writing costs on either side; or dropped unused,
which costs the system nothing but a reservation, and us the objects of Python that stand for a frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
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
LIMIT_NS = 400
"""The most nanoseconds that acquire and release are to take."""

Allocate = Callable[[tuple[int, ...]], np.ndarray[Any, Any]]


def run(_threads: list[int], pairs: int) -> Iterator[Record]:
    """Time both sides in turn, each on one thread."""

    def faults(ours: int, theirs: int) -> str:
        return f"{ours / ROUNDS:.0f} / {theirs / ROUNDS:.0f} page faults a round"

    for touch, case, target in (
        ("page", "a byte a page written", 0.1),
        ("all", "all bytes written", None),
        ("none", "never written", None),
    ):
        ours, theirs = Worker("vedette-frames", touch=touch), Worker("numpy-frames", touch=touch)
        yield compare(
            "memory",
            f"{FRAMES} frames, {case}",
            ours,
            theirs,
            threads=1,
            pairs=pairs,
            agree=faults,
            cpu_target=target,
        )
    # What is left where memory costs nothing: arrays made over bytes that are there.
    ours, theirs = Worker("vedette-frames", touch="none"), Worker("array-frames")
    yield compare(
        "memory", f"{FRAMES} frames, objects alone", ours, theirs, threads=1, pairs=pairs, agree=faults
    )
    for size in (4096, 1 << 20):
        ours, theirs = Worker("vedette-calls", size=size), Worker("numpy-calls", size=size)
        case = f"acquire, release {size >> 10} KiB"
        found = compare("memory", case, ours, theirs, threads=1, pairs=pairs, agree=lambda *_: "")
        ns = found.vedette_times.cpu_median / CALLS * 1e9
        met = "met" if ns < LIMIT_NS else "missed"
        yield replace(found, agreement=f"{ns:.0f} ns each; under {LIMIT_NS}: {met}")


def vedette_frames(touch: str) -> Side:
    """Frames of a pool."""
    from vedette.memory import BufferPool

    pool = BufferPool()
    return _frames(lambda shape: pool.empty(shape, np.uint8), touch)


def numpy_frames(touch: str) -> Side:
    """Frames of NumPy."""
    return _frames(lambda shape: np.empty(shape, np.uint8), touch)


def array_frames() -> Side:
    """Frames over bytes that are there already."""
    frames = [bytearray(math.prod(SHAPE)) for _ in range(FRAMES)]

    def call() -> None:
        for _ in range(ROUNDS):
            held = [np.ndarray(SHAPE, np.uint8, frame) for frame in frames]
            del held

    return call, lambda: 0


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
    "array-frames": array_frames,
    "vedette-calls": vedette_calls,
    "numpy-calls": numpy_calls,
}
