"""Batchers on an event loop in virtual time: when each batch begins, to the tick."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import virtual_time
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.batching import AdaptiveBatcher, BatchConfig, DynamicBatcher
from vedette.errors import DeadlineError

Times = list[tuple[float, list[Any]]]


def noting(seconds: Callable[[int], float]) -> tuple[Times, Callable[[list[Any]], Coroutine[Any, Any, Any]]]:
    """A processor that takes a known time, and what it was given when."""
    begun: Times = []

    async def process(items: list[Any]) -> list[Any]:
        begun.append((asyncio.get_running_loop().time(), items))
        await asyncio.sleep(seconds(len(items)))
        return items

    return begun, process


def test_batches_begin_when_they_should() -> None:
    begun, process = noting(lambda _: 1.0)

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        ends: list[float] = []
        config = BatchConfig(max_batch_size=8, max_wait_ms=500, preferred_batch_size=4)
        async with DynamicBatcher(config, process) as batcher:

            async def client(item: int, at: float) -> None:
                await asyncio.sleep(at)
                assert await batcher.submit(item) == item
                ends.append(loop.time())

            arrivals = [0.0, 0.25, 2.625, 2.75, 2.875, 3.0, 3.125, 3.25]
            await asyncio.gather(*(client(item, at) for item, at in enumerate(arrivals)))
        return ends

    ends = virtual_time.run(main())
    assert begun == [
        (0.5, [0, 1]),  # the oldest has waited long enough
        (3.0, [2, 3, 4, 5]),  # a preferred size
        (4.0, [6, 7]),  # late already when the slot is free
    ]
    assert ends == [1.5] * 2 + [4.0] * 4 + [5.0] * 2


def test_a_deadline_is_kept_to_the_tick_while_the_processor_is_busy() -> None:
    begun, process = noting(lambda _: 10.0)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with DynamicBatcher(BatchConfig(max_batch_size=1), process) as batcher:
            first = batcher.submit(0)
            await asyncio.sleep(1)
            with pytest.raises(DeadlineError, match=r"waited 2000\.0 ms"):
                await batcher.submit(1, timeout_ms=2000)
            assert loop.time() == 3.0
            await first

    virtual_time.run(main())
    assert begun == [(0.0, [0])]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_latency_is_back_within_a_tenth_of_its_target_fifty_batches_after_costs_doubled(
    seed: int, load: float
) -> None:
    """Loads are those of the doubled cost, in batches of half the target."""
    chance = random.Random(seed)
    target_s, fixed_s, growing_s, half_s = 0.1, 0.002, 0.001, 8.0
    size = (target_s / 2 / 2 - fixed_s) / growing_s
    rate = load * size / (target_s / 2)
    latencies: list[tuple[float, float]] = []

    def seconds(count: int) -> float:
        factor = 1 if asyncio.get_running_loop().time() < half_s else 2
        return factor * (fixed_s + growing_s * count) * chance.uniform(0.97, 1.03)

    begun, process = noting(seconds)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        config = BatchConfig(max_batch_size=64, max_queue_size=100_000)
        async with AdaptiveBatcher(config, target_s * 1e3, process) as batcher:

            async def client(at: float) -> None:
                await batcher.submit(None)
                latencies.append((loop.time(), loop.time() - at))

            clients = set()
            due = 0.0
            while due < 2 * half_s:
                due += chance.expovariate(rate)
                await asyncio.sleep(due - loop.time())
                clients.add(asyncio.ensure_future(client(due)))
            await asyncio.gather(*clients)

    virtual_time.run(main())

    def p95(first: float, last: float) -> float:
        found = sorted(latency for at, latency in latencies if first <= at < last)
        return found[int(0.95 * len(found))]

    fifty_later = [at for at, _ in begun if at >= half_s][50]
    assert p95(1.0, half_s) <= 1.1 * target_s
    assert p95(fifty_later, 2 * half_s) <= 1.1 * target_s


@given(
    st.lists(
        st.tuples(
            st.floats(0, 3), st.integers(0, 2), st.none() | st.floats(1, 2000), st.none() | st.floats(0, 2)
        ),
        max_size=40,
    ),
    st.integers(1, 5),
    st.integers(1, 2),
    st.sampled_from([0.0, 300.0]),
    st.floats(0, 6),
    st.booleans(),
    st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_every_future_ends_once_whenever_the_batcher_is_closed(
    arrivals: list[tuple[float, int, float | None, float | None]],
    size: int,
    slots: int,
    wait_ms: float,
    close_at: float,
    drain: bool,
    adaptive: bool,
) -> None:
    begun, process = noting(lambda count: 0.25 * count)
    ends: dict[int, int] = {}

    async def main() -> int:
        config = BatchConfig(
            max_batch_size=size, max_concurrency=slots, max_wait_ms=wait_ms, max_queue_size=8
        )
        batcher: DynamicBatcher[int, int]
        batcher = AdaptiveBatcher(config, 1000, process) if adaptive else DynamicBatcher(config, process)
        batcher.start()

        async def client(number: int) -> None:
            at, priority, timeout_ms, patience = arrivals[number]
            await asyncio.sleep(at)
            try:
                future = batcher.submit(number, priority=priority, timeout_ms=timeout_ms)
                future.add_done_callback(lambda _: ends.update({number: ends.get(number, 0) + 1}))
            except Exception:
                ends[number] = 1
                return
            if patience is not None:
                asyncio.get_running_loop().call_later(patience, future.cancel)
            await asyncio.wait([future])
            if not future.cancelled() and future.exception() is None:
                assert future.result() == number

        clients = [asyncio.ensure_future(client(number)) for number in range(len(arrivals))]
        await asyncio.sleep(close_at)
        await batcher.close(drain=drain)
        stats = batcher.stats()
        assert (stats.queued, stats.running_batches) == (0, 0)
        await asyncio.gather(*clients)
        return len(asyncio.all_tasks())

    assert virtual_time.run(main()) == 1, "nothing goes on"
    assert ends == dict.fromkeys(range(len(arrivals)), 1)
    run = [item for _, items in begun for item in items]
    assert len(run) == len(set(run))
    assert all(1 <= len(items) <= size for _, items in begun)
