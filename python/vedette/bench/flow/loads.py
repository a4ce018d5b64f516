"""Sides of the pairs of the group flow: the same load through Vedette and through what others use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from vedette.bench.flow.batchers import BATCHERS, Submit, same

CLIENTS, CALLS = 64, 100
SMALL_TASKS = 100_000
NATIVE_TASKS = 200

# As in vedette.bench.worker: the call to time, and what it gives for comparison.
Side = tuple[Callable[[], Any], Callable[[], Any]]


async def _load(submit: Submit) -> int:
    """Clients that each wait for one result before they ask for the next."""

    async def client(number: int) -> int:
        return sum([await submit(number * CALLS + call) for call in range(CALLS)])

    return sum(await asyncio.gather(*map(client, range(CLIENTS))))


def no_op(batcher: str, size: int) -> Side:
    """Clients of a batcher whose processor does nothing."""

    async def main() -> int:
        async with BATCHERS[batcher](same, size) as submit:
            return await _load(submit)

    return lambda: asyncio.run(main()), lambda: asyncio.run(main())


def small_vedette() -> Side:
    """``parallel_map`` over tasks that cost next to nothing."""
    from vedette.pipeline import parallel_map

    numbers = list(range(SMALL_TASKS))
    return lambda: parallel_map(abs, numbers, workers=2), lambda: sum(parallel_map(abs, numbers))


def small_futures() -> Side:
    """The same through ``concurrent.futures``."""
    pool = ThreadPoolExecutor(2)
    numbers = list(range(SMALL_TASKS))
    return lambda: list(pool.map(abs, numbers)), lambda: sum(pool.map(abs, numbers))


def _native_task(_: int) -> float:
    import vedette

    frame = _frame()
    return float(vedette.image.resize(frame, (224, 224), antialias=True)[0, 0, 0])


_FRAMES: list[np.ndarray[Any, Any]] = []


def _frame() -> np.ndarray[Any, Any]:
    if not _FRAMES:
        _FRAMES.append(np.random.default_rng(0).integers(0, 255, (2160, 3840, 3), dtype=np.uint8))
    return _FRAMES[0]


def native_vedette() -> Side:
    """``parallel_map`` over native work that keeps to one thread itself."""
    from vedette import runtime
    from vedette.pipeline import parallel_map

    runtime.set_num_threads(1)
    work = range(NATIVE_TASKS)
    return (
        lambda: parallel_map(_native_task, work, workers=2),
        lambda: sum(parallel_map(_native_task, work)),
    )


def native_loop() -> Side:
    """The same in a loop on one thread."""
    from vedette import runtime

    runtime.set_num_threads(1)
    work = range(NATIVE_TASKS)
    return lambda: list(map(_native_task, work)), lambda: sum(map(_native_task, work))


def seconds(call: Callable[[], Any]) -> float:
    """The least of three."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


SIDES: dict[str, Callable[..., Side]] = {
    **{f"no-op-{name}": partial(no_op, name) for name in BATCHERS},
    "vedette-small": small_vedette,
    "concurrent.futures": small_futures,
    "vedette-native": native_vedette,
    "loop": native_loop,
}
