"""Parallel maps and executors: order, limits, attempts, the end."""

import asyncio
import contextvars
import os
import threading
from typing import Any

import pytest
import virtual_time

from vedette.errors import ClosedError, DeadlineError, InputError
from vedette.pipeline import AsyncExecutor, parallel_map
from vedette.runtime import Budget, Runtime

SOON_S = 20


def double(x: int) -> int:
    return 2 * x


def reciprocal(x: int) -> float:
    return 1 / x


def test_parallel_map() -> None:
    assert parallel_map(double, range(10)) == [2 * item for item in range(10)]
    assert parallel_map(double, (item for item in range(10)), workers=3, chunk_size=2)[-1] == 18
    with Runtime(1, name="mine") as runtime:
        assert parallel_map(double, [4], runtime=runtime) == [8]
    assert runtime.stats().tasks == 1
    budget = Budget("100%")
    assert parallel_map(double, [1, 2], budget=budget) == [2, 4]
    assert budget.stats().slices == 2
    with pytest.raises(ZeroDivisionError):
        parallel_map(reciprocal, [1, 0])


def test_an_executor_bounds_how_many_run() -> None:
    running = [0]
    most = [0]

    async def work(item: int) -> int:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(1)
        running[0] -= 1
        return item

    async def main() -> None:
        start = asyncio.get_running_loop().time()
        async with AsyncExecutor(3) as executor:
            assert await executor.map(work, range(10)) == list(range(10))
        assert asyncio.get_running_loop().time() - start == pytest.approx(4)
        assert executor.stats().completed == 10
        with pytest.raises(ClosedError):
            executor.submit(work, 1)
        with pytest.raises(ClosedError):
            await executor.run(work, 1)

    virtual_time.run(main())
    assert most == [3]


def test_an_executor_spaces_starts() -> None:
    starts: list[float] = []

    async def work() -> None:
        starts.append(asyncio.get_running_loop().time())

    async def main() -> None:
        async with AsyncExecutor(100, rate_per_s=4) as executor:
            for _ in range(5):
                executor.submit(work)

    virtual_time.run(main())
    assert starts == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])


def test_an_executor_tries_again_and_gives_up() -> None:
    tries: list[float] = []

    async def fail() -> None:
        tries.append(asyncio.get_running_loop().time())
        raise OSError("busy")

    async def wrong() -> None:
        tries.append(-1)
        raise ValueError("never worth it")

    async def main() -> None:
        executor = AsyncExecutor(1, retries=3, backoff_s=1, retry_on=(OSError,), chance=lambda: 0.5)
        with pytest.raises(OSError, match="busy"):
            await executor.run(fail)
        assert tries == pytest.approx([0, 1.5, 4.5, 10.5])
        with pytest.raises(ValueError, match="never"):
            await executor.run(wrong)
        stats = executor.stats()
        assert (stats.failed, stats.retried, stats.running, stats.waiting) == (2, 3, 0, 0)

    virtual_time.run(main())
    assert tries.count(-1) == 1


def test_an_executor_gives_each_attempt_its_time() -> None:
    async def main() -> None:
        executor = AsyncExecutor(2, timeout_s=1, retries=1, backoff_s=1, chance=lambda: 0.0)
        with pytest.raises(DeadlineError, match="longer than 1 s"):
            await executor.run(asyncio.sleep, 5)
        assert asyncio.get_running_loop().time() == pytest.approx(3)
        assert executor.stats().timed_out == 2
        assert await executor.run(asyncio.sleep, 0.5, result="in time") == "in time"

    virtual_time.run(main())


def test_an_executor_runs_functions_on_threads_and_cancels_the_rest_after_a_failure() -> None:
    async def main() -> None:
        async with AsyncExecutor(2) as executor:
            main_thread = threading.get_ident()
            assert await executor.run(threading.get_ident) != main_thread
            with pytest.raises(ZeroDivisionError):
                await executor.map(reciprocal, [1, 0, *range(1, 100)])
            assert executor.stats().completed < 100
            assert executor.stats().running == 0

    asyncio.run(asyncio.wait_for(main(), SOON_S))


def test_as_many_functions_run_as_the_limit_says_whatever_the_cores() -> None:
    limit = 2 * (os.cpu_count() or 1) + 20
    meeting = threading.Barrier(limit)
    place: contextvars.ContextVar[str] = contextvars.ContextVar("place")

    def work(_: int) -> str:
        meeting.wait(SOON_S)
        return place.get()

    async def main() -> None:
        place.set("here")
        before = threading.active_count()
        async with AsyncExecutor(limit) as executor:
            assert await executor.map(work, range(limit)) == ["here"] * limit
        while threading.active_count() > before:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(main(), SOON_S))


def test_a_function_whose_time_is_up_leaves_its_place() -> None:
    go = threading.Event()

    async def main() -> None:
        async with AsyncExecutor(1, timeout_s=0.02) as executor:
            with pytest.raises(DeadlineError):
                await executor.run(go.wait, SOON_S)
            assert executor.stats().timed_out == 1
        async with AsyncExecutor(1) as executor:
            late = executor.submit(go.wait, SOON_S)
            await asyncio.sleep(0)
            late.cancel()
            assert await executor.run(abs, -1) == 1
            go.set()

    asyncio.run(asyncio.wait_for(main(), SOON_S))


@pytest.mark.parametrize(
    "options", [{"limit": 0}, {"limit": 1, "rate_per_s": 0}, {"limit": 1, "retries": -1}]
)
def test_senseless_limits_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        AsyncExecutor(**options)
