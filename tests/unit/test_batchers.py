"""Batchers on an event loop and on threads: results, failures, cancellation, deadlines, the end."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from vedette.batching import AdaptiveBatcher, BatchConfig, DynamicBatcher
from vedette.errors import BatchError, ClosedError, DeadlineError, InputError, QueueFullError
from vedette.runtime import Budget

SOON_S = 20


def double(items: list[int]) -> list[int]:
    return [2 * item for item in items]


class Held:
    """A processor that notes its batches and waits to be let go."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.began = threading.Event()
        self.go = threading.Event()

    def __call__(self, items: list[Any]) -> list[Any]:
        self.batches.append(items)
        self.began.set()
        assert self.go.wait(SOON_S)
        return items


async def began(held: Held) -> None:
    assert await asyncio.to_thread(held.began.wait, SOON_S)


def run(main: Any) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(main, SOON_S)

    return asyncio.run(bounded())


async def double_async(items: list[int]) -> list[int]:
    await asyncio.sleep(0)
    return double(items)


@pytest.mark.parametrize(("process", "inline"), [(double, False), (double, True), (double_async, False)])
@pytest.mark.parametrize("kind", ["dynamic", "adaptive"])
def test_each_caller_gets_its_result(process: Any, inline: bool, kind: str) -> None:
    async def main() -> None:
        config = BatchConfig(max_batch_size=7)
        batcher = (
            DynamicBatcher(config, process, inline=inline)
            if kind == "dynamic"
            else AdaptiveBatcher(config, 50.0, process, inline=inline)
        )
        async with batcher:
            results = await asyncio.gather(*(batcher.submit(number) for number in range(100)))
        assert results == [2 * number for number in range(100)]
        stats = batcher.stats()
        assert (stats.submitted, stats.completed, stats.queued, stats.running_batches) == (100, 100, 0, 0)
        assert sum(size * count for size, count in stats.sizes.items()) == 100
        assert max(stats.sizes) <= 7
        assert sum(stats.reasons.values()) == stats.batches == sum(stats.sizes.values())

    run(main())


def test_threads_share_a_batcher() -> None:
    with DynamicBatcher(BatchConfig(max_batch_size=8, max_concurrency=2), double) as batcher:
        with concurrent.futures.ThreadPoolExecutor(4) as callers:
            results = list(callers.map(lambda number: batcher.submit(number).result(SOON_S), range(500)))
        assert results == [2 * number for number in range(500)]
    assert batcher.stats().completed == 500


def test_a_burst_is_one_batch_even_without_a_wait() -> None:
    sizes: list[int] = []

    def process(items: list[int]) -> list[int]:
        sizes.append(len(items))
        return items

    async def main() -> None:
        async with DynamicBatcher(BatchConfig(max_batch_size=32), process) as batcher:
            await asyncio.gather(*(batcher.submit(number) for number in range(20)))

    run(main())
    assert sizes == [20]


def test_arrays_of_different_shapes_do_not_meet() -> None:
    def process(arrays: list[np.ndarray]) -> list[float]:
        return list(np.stack(arrays).sum(axis=(1, 2)))

    async def main() -> list[float]:
        async with DynamicBatcher(BatchConfig(max_wait_ms=1), process) as batcher:
            shapes = [(2, 3), (4, 5), (2, 3), (1, 1), (4, 5)]
            return await asyncio.gather(*(batcher.submit(np.ones(shape)) for shape in shapes))

    assert run(main()) == [6, 20, 6, 1, 20]


@pytest.mark.parametrize("threads", [False, True])
def test_one_bad_item_fails_alone(threads: bool) -> None:
    calls: list[list[int]] = []

    def process(items: list[int]) -> list[float]:
        calls.append(items)
        return [1 / item for item in items]

    items = [1, 2, 0, 4, 5, 0, 7, 8]

    async def on_loop() -> list[Any]:
        async with DynamicBatcher(BatchConfig(), process) as batcher:
            return await asyncio.gather(*map(batcher.submit, items), return_exceptions=True)

    def on_threads() -> list[Any]:
        with DynamicBatcher(BatchConfig(max_wait_ms=20, preferred_batch_size=8), process) as batcher:
            futures = [batcher.submit(item) for item in items]
        return [future.exception() or future.result() for future in futures]

    outcomes = on_threads() if threads else run(on_loop())
    for item, outcome in zip(items, outcomes, strict=True):
        assert isinstance(outcome, ZeroDivisionError) if item == 0 else outcome == 1 / item
    assert len(calls) <= 1 + 2 * 2 * 3, "about 2 k log2(n) calls more"


def test_isolation_can_be_turned_off() -> None:
    calls: list[int] = []

    def process(items: list[int]) -> list[int]:
        calls.append(len(items))
        raise OSError("no device")

    async def main() -> list[Any]:
        async with DynamicBatcher(BatchConfig(isolate_failures=False), process) as batcher:
            return await asyncio.gather(*map(batcher.submit, range(4)), return_exceptions=True)

    outcomes = run(main())
    assert calls == [4]
    assert {str(outcome) for outcome in outcomes} == {"a batch of 4 failed: OSError: no device"}
    assert all(isinstance(outcome, BatchError) for outcome in outcomes)
    assert all(isinstance(outcome.__cause__, OSError) for outcome in outcomes)
    assert len({id(outcome) for outcome in outcomes}) == 4, "each caller has a traceback of its own"


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (lambda items: items[1:], "process returned 3 results for 4 items"),
        (lambda items: None, "with a result for each item, got NoneType"),  # noqa: ARG005
        (lambda items: [StopIteration(item) for item in items], "process raised StopIteration: "),
        (lambda items: [KeyboardInterrupt() for _ in items], "process raised KeyboardInterrupt"),
    ],
)
def test_results_that_cannot_be_are_failures(process: Callable[[list[int]], Any], message: str) -> None:
    async def main() -> list[Any]:
        async with DynamicBatcher(BatchConfig(), process) as batcher:
            return await asyncio.gather(*map(batcher.submit, range(4)), return_exceptions=True)

    for outcome in run(main()):
        assert isinstance(outcome, BatchError)
        assert message in str(outcome)


def test_a_result_may_be_an_exception() -> None:
    def process(items: list[int]) -> Sequence[Any]:
        return [ValueError(item) if item % 2 else item for item in items]

    async def main() -> list[Any]:
        async with DynamicBatcher(BatchConfig(), process) as batcher:
            return await asyncio.gather(*map(batcher.submit, range(4)), return_exceptions=True)

    outcomes = run(main())
    assert [repr(outcome) for outcome in outcomes] == ["0", "ValueError(1)", "2", "ValueError(3)"]


def test_a_full_queue_refuses_at_once() -> None:
    held = Held()

    async def main() -> None:
        async with DynamicBatcher(BatchConfig(max_batch_size=1, max_queue_size=2), held) as batcher:
            first = batcher.submit(0)
            await began(held)
            waiting = [batcher.submit(1), batcher.submit(2)]
            with pytest.raises(QueueFullError, match="2 items wait already"):
                batcher.submit(3)
            waiting[0].cancel()
            waiting.append(batcher.submit(4))
            held.go.set()
            assert await asyncio.gather(first, *waiting[1:]) == [0, 2, 4]
            assert waiting[0].cancelled()
            assert batcher.stats().refused == 1

    run(main())
    assert held.batches == [[0], [2], [4]]


@pytest.mark.parametrize("threads", [False, True])
def test_deadlines_are_kept_while_the_processor_is_busy(threads: bool) -> None:
    held = Held()
    config = BatchConfig(max_batch_size=1)

    async def on_loop() -> None:
        async with DynamicBatcher(config, held) as batcher:
            first = batcher.submit(0)
            await began(held)
            with pytest.raises(DeadlineError, match="until its deadline"):
                await batcher.submit(1, timeout_ms=5)
            held.go.set()
            assert await first == 0
            assert batcher.stats().expired == 1

    if threads:
        with DynamicBatcher(config, held) as batcher:
            first = batcher.submit(0)
            held.began.wait(SOON_S)
            with pytest.raises(DeadlineError):
                batcher.submit(1, timeout_ms=5).result(SOON_S)
            held.go.set()
            assert first.result(SOON_S) == 0
    else:
        run(on_loop())
    assert held.batches == [[0]]


@pytest.mark.parametrize("threads", [False, True])
def test_the_end_loses_nothing(threads: bool) -> None:
    config = BatchConfig(max_batch_size=16, max_wait_ms=60_000)

    async def on_loop() -> list[int]:
        async with DynamicBatcher(config, double) as batcher:
            futures = [batcher.submit(number) for number in range(100)]
        assert all(future.done() for future in futures)
        with pytest.raises(ClosedError):
            batcher.submit(1)
        return [future.result() for future in futures]

    if threads:
        with DynamicBatcher(config, double) as batcher:
            futures = [batcher.submit(number) for number in range(100)]
        results = [future.result(0) for future in futures]
        with pytest.raises(ClosedError):
            batcher.submit(1)
    else:
        results = run(on_loop())
    assert results == [2 * number for number in range(100)]


@pytest.mark.parametrize("threads", [False, True])
def test_an_end_without_drain_refuses_what_waits(threads: bool) -> None:
    held = Held()
    config = BatchConfig(max_batch_size=1)

    async def on_loop() -> list[Any]:
        batcher = DynamicBatcher(config, held).start()
        first = batcher.submit(0)
        await began(held)
        waiting = [batcher.submit(number) for number in (1, 2)]
        held.go.set()
        await batcher.close(drain=False)
        return await asyncio.gather(first, *waiting, return_exceptions=True)

    if threads:
        batcher = DynamicBatcher(config, held).start_threads()
        futures = [batcher.submit(0)]
        held.began.wait(SOON_S)
        futures += [batcher.submit(number) for number in (1, 2)]
        closing = threading.Thread(target=lambda: batcher.close(drain=False))
        closing.start()
        outcomes = [futures[1].exception(SOON_S), futures[2].exception(SOON_S)]
        held.go.set()
        closing.join(SOON_S)
        outcomes.insert(0, futures[0].result(SOON_S))
    else:
        outcomes = run(on_loop())
    assert outcomes[0] == 0
    assert [type(outcome) for outcome in outcomes[1:]] == [ClosedError, ClosedError]
    assert held.batches == [[0]]


def test_a_batcher_must_be_entered() -> None:
    batcher = DynamicBatcher(BatchConfig(), double)
    with pytest.raises(ClosedError, match="enter it"):
        batcher.submit(1)
    with pytest.raises(ClosedError, match="never entered"):
        batcher.stats()
    with pytest.raises(InputError, match="coroutine function"):
        DynamicBatcher(BatchConfig(), double_async).start_threads()
    with pytest.raises(InputError, match="target_latency_ms"):
        AdaptiveBatcher(BatchConfig(), 0, double)


def test_batches_are_slices_of_a_budget() -> None:
    budget = Budget("100%")

    async def main() -> None:
        for process in (double, double_async):
            async with DynamicBatcher(BatchConfig(), process, budget=budget) as batcher:
                assert await batcher.submit(2) == 4

    run(main())
    assert budget.stats().slices == 2


def test_an_idle_batcher_sets_no_timer() -> None:
    async def main() -> None:
        async with DynamicBatcher(BatchConfig(max_wait_ms=5), double) as batcher:
            await batcher.submit(1)
            await asyncio.sleep(0)
            assert batcher._driver is not None
            assert batcher._driver._timer is None

    run(main())


# Known failures of other batchers; each test is named after what happened there.


def test_mlserver_one_cancelled_client_hangs_its_batch_mates() -> None:
    held = Held()

    async def main() -> None:
        async with DynamicBatcher(BatchConfig(max_batch_size=3), held) as batcher:
            futures = [batcher.submit(number) for number in range(3)]
            await began(held)
            futures[1].cancel()
            held.go.set()
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
            assert (outcomes[0], outcomes[2]) == (0, 2)
            assert isinstance(outcomes[1], asyncio.CancelledError)
            assert await batcher.submit(9) == 9

    run(main())


def test_ray_41057_a_cancelled_request_kills_the_loop() -> None:
    held = Held()

    async def main() -> None:
        async with DynamicBatcher(BatchConfig(max_batch_size=2), held) as batcher:
            task = asyncio.create_task(_await(batcher.submit(0)))
            await began(held)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            held.go.set()
            assert await batcher.submit(1) == 1

    run(main())


async def _await(future: asyncio.Future[Any]) -> Any:
    return await future


def test_ray_50046_the_queue_is_stuck_after_all_of_a_batch_cancel() -> None:
    held = Held()

    async def main() -> None:
        config = BatchConfig(max_batch_size=4, max_queue_size=6, group_by=type)
        async with DynamicBatcher(config, held) as batcher:
            first = batcher.submit("first")
            await began(held)
            kept = [batcher.submit(0)]
            cancelled = [batcher.submit(number) for number in range(1, 5)]
            for future in (*cancelled, batcher.submit(0.5)):
                future.cancel()
            kept += [batcher.submit(item) for item in (5, "a", "b", "c", "d")]
            with pytest.raises(QueueFullError):
                batcher.submit("one too many")
            held.go.set()
            assert await first == "first"
            assert await asyncio.gather(*kept) == [0, 5, "a", "b", "c", "d"]

    run(main())
    assert held.batches == [["first"], [0, 5], ["a", "b", "c", "d"]], "what was cancelled never ran"


def test_ray_42705_a_submission_during_a_step_is_not_lost() -> None:
    later: list[asyncio.Future[int]] = []

    async def main() -> None:
        def process(items: list[int]) -> list[int]:
            if not later:
                later.append(batcher.submit(2))
                later[0].add_done_callback(lambda _: later.append(batcher.submit(3)))
            return double(items)

        async with DynamicBatcher(BatchConfig(max_batch_size=2), process, inline=True) as batcher:
            assert await batcher.submit(1) == 2
            assert await later[0] == 4
            await asyncio.sleep(0)
            assert await later[1] == 6

    run(main())


def test_ray_66140_a_failing_group_function_fails_its_caller_only() -> None:
    def group_by(item: Any) -> Any:
        if item == "bad":
            raise KeyError(item)
        return [item] if item == "unhashable" else item

    async def main() -> None:
        async with DynamicBatcher(BatchConfig(group_by=group_by), double) as batcher:
            waiting = batcher.submit(1)
            with pytest.raises(KeyError):
                batcher.submit("bad")
            with pytest.raises(TypeError, match="unhashable"):
                batcher.submit("unhashable")
            assert await waiting == 2
            assert await batcher.submit(3) == 6

    run(main())


def test_litserve_340_one_bad_item_fails_every_request_of_its_batch() -> None:
    def decode(items: list[str]) -> list[int]:
        return [int(item) for item in items]

    async def main() -> list[Any]:
        async with DynamicBatcher(BatchConfig(), decode) as batcher:
            return await asyncio.gather(*map(batcher.submit, "12x4"), return_exceptions=True)

    outcomes = run(main())
    assert outcomes[:2] + outcomes[3:] == [1, 2, 4]
    assert isinstance(outcomes[2], ValueError)


def test_bentoml_3646_everything_is_refused_for_good_after_a_slow_start() -> None:
    slow = [True]

    async def process(items: list[int]) -> list[int]:
        if slow:
            slow.clear()
            await asyncio.sleep(0.05)
        return items

    async def main() -> None:
        async with AdaptiveBatcher(BatchConfig(), 1.0, process) as batcher:
            assert await batcher.submit(0) == 0
            assert await asyncio.gather(*map(batcher.submit, range(20))) == list(range(20))

    run(main())


def test_bentoml_3859_batches_exceed_the_largest_size() -> None:
    sizes: list[int] = []

    async def process(items: list[int]) -> list[int]:
        sizes.append(len(items))
        await asyncio.sleep(0)
        return items

    async def main() -> None:
        async with AdaptiveBatcher(BatchConfig(max_batch_size=5), 1000.0, process) as batcher:
            await asyncio.gather(*map(batcher.submit, range(500)))

    run(main())
    assert max(sizes) == 5


def test_infinity_a_failing_batch_ends_the_worker_thread() -> None:
    def process(items: list[int]) -> list[int]:
        if 13 in items:
            raise SystemExit(13)
        return items

    with DynamicBatcher(BatchConfig(), process) as batcher:
        with pytest.raises(BatchError, match="SystemExit"):
            batcher.submit(13).result(SOON_S)
        assert batcher.submit(1).result(SOON_S) == 1
