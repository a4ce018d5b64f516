"""Pipelines: order, failures, back-pressure, drops, the end."""

import asyncio
import gc
import os
import random
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import ClosedError, InputError, StageError
from vedette.pipeline import Pipeline, Stage
from vedette.runtime import Budget

SOON_S = 20


def add(x: int) -> int:
    return x + 1


def double(x: int) -> int:
    return 2 * x


async def negate(x: int) -> int:
    await asyncio.sleep(0)
    return -x


def test_items_pass_all_stages_in_order() -> None:
    with Pipeline(add, Stage(double, workers=3), negate) as pipeline:
        assert pipeline.execute(1) == -4
        assert pipeline.execute_batch(range(100)) == [-2 * (item + 1) for item in range(100)]
        assert list(pipeline.stream([])) == []
        stages = pipeline.stats().stages
    assert [(stage.name, stage.processed, stage.failed, stage.queued) for stage in stages] == [
        ("add", 101, 0, 0),
        ("double", 101, 0, 0),
        ("negate", 101, 0, 0),
    ]
    assert repr(pipeline) == "<Pipeline add > double > negate>"


@given(
    st.lists(st.integers(), max_size=50),
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=4),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_any_pipeline_gives_each_result_once(
    items: list[int], shapes: list[tuple[int, int]], ordered: bool
) -> None:
    stages = [Stage(add, workers=workers, queue_size=size) for workers, size in shapes]
    wanted = [item + len(stages) for item in items]
    with Pipeline(*stages) as pipeline:
        results = list(pipeline.stream(items, ordered=ordered))
    assert results == wanted if ordered else sorted(results) == sorted(wanted)


def test_results_come_as_they_are_ready_where_order_does_not_matter() -> None:
    go = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert go.wait(SOON_S)
        return item

    with Pipeline(Stage(work, workers=2)) as pipeline:
        stream = pipeline.stream(range(3), ordered=False)
        assert [next(stream), next(stream)] == [1, 2]
        go.set()
        assert next(stream) == 0


def reciprocal(x: int) -> float:
    return 1 / x


async def reciprocal_async(x: int) -> float:
    return 1 / x


@pytest.mark.parametrize("function", [reciprocal, reciprocal_async])
def test_failures_name_stage_and_item_and_stop_skip_or_return(function: Any) -> None:
    items = [4, 2, 0, 5]
    with Pipeline(add, Stage(lambda x: x - 1, name="back"), Stage(function, name="divide")) as pipeline:
        stream = pipeline.stream(items)
        assert [next(stream), next(stream)] == [0.25, 0.5]
        with pytest.raises(
            StageError, match="stage 'divide' failed for item 2: ZeroDivisionError: division by zero"
        ) as caught:
            next(stream)
        assert (caught.value.stage, caught.value.index) == ("divide", 2)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert traceback.extract_tb(caught.value.__cause__.__traceback__)[-1].name == function.__name__
        assert list(stream) == []

        drops: Counter[str] = Counter()
        assert list(pipeline.stream(items, on_error="skip", drops=drops)) == [0.25, 0.5, 0.2]
        assert drops == {"failed in divide": 1}
        assert pipeline.stats().drops["failed in divide"] == 1

        results = pipeline.execute_batch(items, on_error="return")
        assert results[:2] + results[3:] == [0.25, 0.5, 0.2]
        assert isinstance(results[2], StageError)

        with pytest.raises(StageError):
            pipeline.execute(0)
        assert pipeline.execute(1) == 1.0


def test_a_failing_source_fails_after_the_results_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the camera is gone")

    with Pipeline(add) as pipeline:
        stream = pipeline.stream(source())
        assert [next(stream), next(stream)] == [2, 3]
        with pytest.raises(OSError, match="the camera is gone"):
            next(stream)


def test_a_stalled_consumer_stops_the_source() -> None:
    read: list[int] = []

    def source() -> Iterator[int]:
        for item in range(100_000):
            read.append(item)
            yield item

    with Pipeline(Stage(add, workers=2, queue_size=3), Stage(double, queue_size=4)) as pipeline:
        stream = pipeline.stream(source())
        assert next(stream) == 2
        bound = (2 + 3) + (1 + 4)
        previous = -1
        while len(read) != previous:
            previous = len(read)
            threading.Event().wait(0.05)
        assert len(read) <= bound + 2, "what is under way, the item taken and the one at hand"


def test_streams_share_a_pipeline() -> None:
    with Pipeline(add, Stage(double, workers=2)) as pipeline:
        results: dict[int, list[int]] = {}

        def consume(number: int) -> None:
            results[number] = pipeline.execute_batch(range(number, number + 50))

        threads = [threading.Thread(target=consume, args=(100 * number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON_S)
    assert results == {
        100 * number: [2 * (item + 1) for item in range(100 * number, 100 * number + 50)]
        for number in range(4)
    }


def test_the_latest_frame_wins_and_every_drop_is_counted() -> None:
    go, began = threading.Event(), threading.Event()
    fed = threading.Event()

    def slow(frame: int) -> int:
        began.set()
        assert go.wait(SOON_S)
        return frame

    def camera() -> Iterator[int]:
        yield 0
        assert began.wait(SOON_S)
        yield from range(1, 100)
        fed.set()

    drops: Counter[str] = Counter()
    with Pipeline(Stage(slow, name="detect")) as pipeline:
        stream = pipeline.stream(camera(), latest=True, drops=drops)
        results = []
        consumer = threading.Thread(target=lambda: results.extend(stream))
        consumer.start()
        assert fed.wait(SOON_S)
        go.set()
        consumer.join(SOON_S)
        (stage,) = pipeline.stats().stages
    # The last result may replace the first before it is taken.
    assert results in ([0, 99], [99])
    assert drops["newer frame before detect"] == 98 == stage.drops["newer frame before detect"]
    assert sum(drops.values()) + len(results) == 100


def test_a_slow_consumer_gets_the_newest_result() -> None:
    drops: Counter[str] = Counter()
    with Pipeline(add) as pipeline:
        gate = threading.Semaphore(0)

        def camera() -> Iterator[int]:
            for frame in range(20):
                yield frame
                while pipeline.stats().stages[0].processed <= frame:
                    pass
                gate.release()

        stream = pipeline.stream(camera(), latest=True, drops=drops)
        first = next(stream)
        for _ in range(20):
            assert gate.acquire(timeout=SOON_S)
        rest = list(stream)
    assert rest[-1:] == [20] or first == 20
    assert sum(drops.values()) + 1 + len(rest) == 20
    assert [first, *rest] == sorted([first, *rest])


def test_a_stream_given_up_ends() -> None:
    ended = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            ended.set()

    with Pipeline(add) as pipeline:
        stream = pipeline.stream(source())
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        assert ended.wait(SOON_S)
        assert pipeline.execute(1) == 2


def test_one_count_of_drops_may_serve_several_streams() -> None:
    drops: Counter[str] = Counter()

    async def main(pipeline: Pipeline) -> list[int]:
        return [item async for item in pipeline.stream_async([0, 2], on_error="skip", drops=drops)]

    with Pipeline(Stage(reciprocal, name="divide")) as pipeline:
        assert list(pipeline.stream([1, 0, 0], on_error="skip", drops=drops)) == [1.0]
        assert asyncio.run(main(pipeline)) == [0.5]
        assert drops == pipeline.stats().drops == {"failed in divide": 3}


def test_streams_nobody_reads_are_forgotten() -> None:
    with Pipeline(add) as pipeline:
        for _ in range(100):
            pipeline.stream(range(3))
        gc.collect()
        assert pipeline._inside is not None
        assert len(pipeline._inside._runs) == 0
        assert list(pipeline.stream(range(3))) == [1, 2, 3]


def test_a_closed_pipeline_says_so_and_ends_its_streams() -> None:
    go = threading.Event()
    pipeline = Pipeline(lambda _: go.wait(SOON_S))
    failures: list[BaseException] = []

    def consume() -> None:
        try:
            pipeline.execute(1)
        except ClosedError as error:
            failures.append(error)

    consumer = threading.Thread(target=consume)
    consumer.start()
    while not pipeline.stats().stages[0].running:
        pass
    pipeline.close(wait=False)
    consumer.join(SOON_S)
    go.set()
    assert len(failures) == 1
    with pytest.raises(ClosedError, match="has been shut down"):
        pipeline.stream([1])


def test_a_forgotten_pipeline_ends_its_threads() -> None:
    before = threading.active_count()
    pipeline = Pipeline(add, Stage(double, workers=3), negate)
    assert pipeline.execute(1) == -4
    assert threading.active_count() > before
    del pipeline
    gc.collect()
    for _ in range(1000):
        if threading.active_count() <= before:
            break
        threading.Event().wait(0.01)
    assert threading.active_count() <= before


def test_coroutines_stream_from_any_source() -> None:
    async def numbers() -> Any:
        for number in range(20):
            yield number
            await asyncio.sleep(0)

    async def main() -> None:
        with Pipeline(add, negate) as pipeline:
            assert await pipeline.execute_async(1) == -2
            assert [item async for item in pipeline.stream_async(range(20))] == [-n - 1 for n in range(20)]
            assert [item async for item in pipeline.stream_async(numbers())] == [-n - 1 for n in range(20)]
            async for item in pipeline.stream_async(numbers()):
                assert item == -1
                break
            with pytest.raises(StageError):
                await pipeline.execute_async("x")

    asyncio.run(asyncio.wait_for(main(), SOON_S))


def test_stages_are_slices_of_a_budget() -> None:
    budget = Budget("100%")
    with Pipeline(add, negate, budget=budget) as pipeline:
        assert pipeline.execute_batch([1, 2, 3]) == [-2, -3, -4]
    assert budget.stats().slices == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_stages_of_its_own() -> None:
    with Pipeline(add, double) as pipeline:
        assert pipeline.execute(1) == 4
        child = os.fork()
        if child == 0:
            os._exit(0 if pipeline.execute(2) == 6 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_senseless_pipelines_are_refused() -> None:
    with pytest.raises(InputError, match="at least one stage"):
        Pipeline()
    with pytest.raises(InputError, match="a stage must be a function, got 3"):
        Pipeline(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="workers must be at least 1, got 0"):
        Stage(add, workers=0)
    with pytest.raises(InputError, match="on_error must be"):
        Pipeline(add).stream([], on_error="panic")  # type: ignore[arg-type]


def test_chaos_ends_and_leaves_nothing_behind() -> None:
    before = threading.active_count()
    chance = random.Random(3)

    def sometimes(item: int) -> int:
        if chance.random() < 0.02:
            raise RuntimeError("chaos")
        if chance.random() < 0.005:
            threading.Event().wait(0.001)
        return item

    async def sometimes_async(item: int) -> int:
        await asyncio.sleep(0)
        return sometimes(item)

    with Pipeline(
        Stage(sometimes, workers=2), Stage(sometimes_async, workers=2), Stage(sometimes, queue_size=8)
    ) as pipeline:
        returned = pipeline.execute_batch(range(5000), on_error="return")
        good = [index for index, item in enumerate(returned) if not isinstance(item, StageError)]
        assert [returned[index] for index in good] == good
        drops: Counter[str] = Counter()
        skipped = list(pipeline.stream(range(5000), ordered=False, on_error="skip", drops=drops))
        assert len(skipped) + sum(drops.values()) == 5000
        for _ in range(20):
            stream = pipeline.stream(range(1000), on_error="return")
            for _ in range(chance.randrange(30)):
                next(stream)
            stream.close()  # type: ignore[attr-defined]
    for _ in range(500):
        if threading.active_count() <= before:
            break
        threading.Event().wait(0.01)
    assert threading.active_count() <= before
