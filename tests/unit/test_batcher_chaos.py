"""Batchers among real threads: ten thousand items, and whatever can happen to them."""

import asyncio
import concurrent.futures
import gc
import random
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vedette.batching import BatchConfig, DynamicBatcher
from vedette.errors import ClosedError, DeadlineError, QueueFullError

SOON_S = 20


def run(main: Any) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(main, SOON_S)

    return asyncio.run(bounded())


def chaotic(chance: random.Random) -> Callable[[list[int]], list[Any]]:
    def process(items: list[int]) -> list[Any]:
        if chance.random() < 0.05:
            threading.Event().wait(0.002)
        if chance.random() < 0.1:
            raise RuntimeError("chaos")
        return [ValueError(item) if item % 97 == 0 else item for item in items]

    return process


def check(item: int, outcome: Any) -> None:
    assert outcome == item or isinstance(
        outcome,
        (RuntimeError, ValueError, DeadlineError, QueueFullError, ClosedError, asyncio.CancelledError),
    )


@pytest.mark.parametrize("seed", range(2))
def test_chaos_on_the_event_loop(seed: int) -> None:
    chance = random.Random(seed)
    before = threading.active_count()

    async def client(batcher: DynamicBatcher[int, int], item: int) -> Any:
        await asyncio.sleep(chance.random() * 0.3)
        try:
            timeout = chance.choice([None, None, 1.0, 1000.0])
            future = batcher.submit(item, priority=chance.randrange(3), timeout_ms=timeout)
        except (QueueFullError, ClosedError) as error:
            return error
        if chance.random() < 0.1:
            asyncio.get_running_loop().call_later(chance.random() * 0.01, future.cancel)
        try:
            return await future
        except (Exception, asyncio.CancelledError) as error:
            return error

    async def main() -> list[Any]:
        config = BatchConfig(max_batch_size=16, max_queue_size=500, max_wait_ms=1, max_concurrency=2)
        batcher = DynamicBatcher(config, chaotic(chance)).start()
        clients = [asyncio.create_task(client(batcher, item)) for item in range(5000)]
        await asyncio.sleep(0.25)
        await batcher.close(drain=seed == 0)
        return await asyncio.gather(*clients)

    for item, outcome in enumerate(run(main())):
        check(item, outcome)
    assert threading.active_count() <= before


def test_chaos_on_threads() -> None:
    before = threading.active_count()
    outcomes: dict[int, Any] = {}

    def client(batcher: Any, first: int) -> None:
        chance = random.Random(first)
        futures = {}
        for item in range(first, first + 2500):
            try:
                futures[item] = batcher.submit(
                    item, priority=chance.randrange(3), timeout_ms=chance.choice([None, 1.0, 1000.0])
                )
            except (QueueFullError, ClosedError) as error:
                outcomes[item] = error
                continue
            if chance.random() < 0.2:
                chance.choice(list(futures.values())[-20:]).cancel()
        for item, future in futures.items():
            try:
                outcomes[item] = future.result(SOON_S)
            except (Exception, concurrent.futures.CancelledError) as error:
                outcomes[item] = asyncio.CancelledError() if future.cancelled() else error

    config = BatchConfig(max_batch_size=16, max_queue_size=200, max_concurrency=2)
    batcher = DynamicBatcher(config, chaotic(random.Random(1))).start_threads()
    clients = [threading.Thread(target=client, args=(batcher, 2500 * number)) for number in range(4)]
    for thread in clients:
        thread.start()
    threading.Event().wait(0.1)
    batcher.close()
    for thread in clients:
        thread.join(SOON_S)
    assert sorted(outcomes) == list(range(10_000))
    for item, outcome in outcomes.items():
        check(item, outcome)
    assert threading.active_count() == before


def test_ten_thousand_large_items_leave_no_memory_behind() -> None:
    def process(items: list[np.ndarray]) -> list[Any]:
        return [ValueError(item[:1000].copy()) if item[0] % 7 == 0 else item + 1 for item in items]

    def round_of(count: int) -> None:
        with DynamicBatcher(BatchConfig(max_queue_size=count), process) as batcher:
            futures = [batcher.submit(np.full(2000, number)) for number in range(count)]
            for future in futures[::3]:
                future.cancel()
            concurrent.futures.wait(futures, SOON_S)
        assert all(future.done() for future in futures)

    round_of(100)
    # What Python and NumPy hold, to the byte; what the allocator keeps for later comes and goes.
    tracemalloc.start()
    try:
        round_of(2000)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            round_of(2000)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # One item is 16 kB, and there were ten thousand.
    assert after - before < 100_000
