"""What a batcher costs where the batches themselves cost nothing."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from vedette.bench.flow.loads import CALLS, CLIENTS, seconds
from vedette.bench.target import Target

SIZE = 16


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and those it starts, to one core where the system lets threads choose (Linux)."""
    if sys.platform != "linux":
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def batcher_overhead() -> Iterator[Target]:
    """Items a second with a processor that does nothing, and what an item costs beyond direct batches."""
    from vedette.batching import BatchConfig, DynamicBatcher

    def process(items: list[int]) -> list[int]:
        return items

    items = CLIENTS * CALLS

    async def load() -> float:
        async with DynamicBatcher(BatchConfig(max_batch_size=SIZE), process) as batcher:

            async def client() -> None:
                for call in range(CALLS):
                    await batcher.submit(call)

            began = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(CLIENTS)))
            return time.perf_counter() - began

    with one_core():
        took = min(asyncio.run(load()) for _ in range(5))
    yield Target("batcher, no-op processor, asyncio, one core", items / took, "items/s", 50_000, True)
    batches = [list(range(SIZE))] * (items // SIZE)
    direct = seconds(lambda: [process(batch) for batch in batches])
    added = (took - direct) / items * 1e6
    yield Target(f"batcher, added an item at batch {SIZE}", added, "us", 30, False)
