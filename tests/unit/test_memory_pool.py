"""Pools: who owns a block, when it comes back, and what is reported meanwhile."""

import gc
import os
import queue
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest

from vedette.errors import InputError, LeaseError, MemoryLimitError, VedetteError
from vedette.memory import TRACEMALLOC_DOMAIN, BufferPool, default_pool

FRAME = (1080, 1920, 3)


@pytest.fixture
def pool() -> BufferPool:
    return BufferPool()


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_an_array_is_an_ordinary_aligned_writable_array(pool: BufferPool) -> None:
    array = pool.empty(FRAME, "uint8")
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype, array.flags.c_contiguous) == (FRAME, np.uint8, True)
    assert address(array) % (2 << 20) == 0
    assert address(pool.empty(7, "float32")) % 64 == 0
    array[...] = 3
    assert (array == 3).all()
    array.flags.writeable = False
    array.flags.writeable = True


@pytest.mark.parametrize("shape", [(), 5, 0, (0, 3), [2, 3], (np.int64(2), 3), (1,) * 30])
@pytest.mark.parametrize("dtype", ["uint8", np.float64, ">i4", "S3", "datetime64[ms]", "u1,f4", "(3,)u1"])
def test_shapes_and_dtypes_are_those_of_numpy(pool: BufferPool, shape: object, dtype: object) -> None:
    ours, theirs = pool.empty(shape, dtype), np.empty(shape, dtype)
    assert (ours.shape, ours.dtype, ours.nbytes) == (theirs.shape, theirs.dtype, theirs.nbytes)
    assert ours.strides == theirs.strides or ours.size == 0


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        (-1, "uint8", "cannot be negative, got -1"),
        ((2, -3), "uint8", r"cannot be negative, got \(2, -3\)"),
        ("ab", "uint8", "expected a shape"),
        (2.5, "uint8", "expected a shape"),
        (None, "uint8", "expected a shape"),
        (1 << 70, "uint8", "expected a shape"),
        (1, "object", "holds Python objects"),
        (1, "u1,O", "holds Python objects"),
        (1, "S", "has no size"),
        (1, "colour", "colour is no element type"),
        (1, None, "None is no element type"),
    ],
)
def test_what_no_array_can_be_is_refused(
    pool: BufferPool, shape: object, dtype: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        pool.empty(shape, dtype)
    assert pool.stats().current_bytes == 0


@pytest.mark.parametrize("shape", [1 << 62, (1 << 40, 1 << 40), (1 << 32, 1 << 31), (1 << 46,)])
def test_more_than_any_memory_is_an_error(pool: BufferPool, shape: object) -> None:
    with pytest.raises(MemoryLimitError):
        pool.empty(shape, "uint16")
    with pytest.raises(MemoryLimitError, match="the system has no memory"):
        pool.acquire(sys.maxsize)
    with pytest.raises(InputError, match="n cannot be negative, got -1"):
        pool.acquire(-1)
    assert pool.stats().held_bytes == 0


def test_the_block_returns_once_when_the_last_view_dies(pool: BufferPool) -> None:
    array = pool.empty((100, 100), "uint8")
    place = address(array)
    views = [array[10:], array[::2, ::-3], array.reshape(-1)[5:][5:], memoryview(array), array.T]
    del array
    while views:
        assert pool.stats().current_bytes == 10240
        other = pool.empty((100, 100), "uint8")
        assert address(other) != place
        del other
        views.pop()
    assert pool.stats().current_bytes == 0
    places = {address(kept) for kept in [pool.empty((100, 100), "uint8") for _ in range(2)]}
    assert place in places
    assert pool.stats().misses == 2


def test_a_block_may_be_dropped_on_another_thread(pool: BufferPool) -> None:
    for size in (1000, 5_000_000):
        arrays = [pool.empty(size, "uint8")]
        thread = threading.Thread(target=arrays.clear)
        thread.start()
        thread.join()
        assert pool.stats().current_bytes == 0
    pool.empty(5_000_000, "uint8")
    assert (pool.stats().hits, pool.stats().misses) == (1, 2)


def test_a_block_in_a_cycle_comes_back_with_the_garbage(pool: BufferPool) -> None:
    cycle: list[object] = [pool.empty(1000, "uint8")]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert pool.stats().current_bytes == 0


def test_arrays_and_buffers_outlive_their_pool() -> None:
    pool = BufferPool()
    array, buffer = pool.empty(1000, "uint8"), pool.acquire(1000)
    del pool
    array.fill(1)
    memoryview(buffer)[:] = bytes(array)
    buffer.release()


def test_a_buffer_is_writable_bytes(pool: BufferPool) -> None:
    buffer = pool.acquire(10)
    assert len(buffer) == buffer.nbytes == 10
    with memoryview(buffer) as view:
        view[:] = b"0123456789"
        assert (view.format, view.readonly, view.contiguous) == ("B", False, True)
    assert bytes(buffer) == b"0123456789"
    array = np.frombuffer(buffer, "uint8")
    array[0] = ord("x")
    assert bytes(buffer) == b"x123456789"
    assert repr(buffer) == "<Buffer of 10 bytes>"


def test_a_second_release_is_refused_and_the_next_owner_is_safe(pool: BufferPool) -> None:
    buffer = pool.acquire(100)
    buffer.release()
    other = pool.acquire(100)
    for use in (buffer.release, lambda: memoryview(buffer), lambda: len(buffer), buffer.__enter__):
        with pytest.raises(LeaseError, match="released"):
            use()
    assert (buffer.released, other.released) == (True, False)
    assert repr(buffer) == "<Buffer, released>"
    assert pool.stats().current_bytes == 128
    assert issubclass(LeaseError, BufferError)
    assert issubclass(LeaseError, VedetteError)


def test_a_release_is_refused_while_views_live(pool: BufferPool) -> None:
    buffer = pool.acquire(100)
    view, array = memoryview(buffer), np.frombuffer(buffer, "uint8")[3:]
    with pytest.raises(LeaseError, match="2 views of the buffer are alive"):
        buffer.release()
    view.release()
    with pytest.raises(LeaseError, match="1 views"):
        buffer.release()
    del array
    buffer.release()
    assert pool.stats().current_bytes == 0


def test_a_buffer_dropped_with_views_comes_back_with_the_last(pool: BufferPool) -> None:
    view = memoryview(pool.acquire(100))
    assert pool.stats().current_bytes == 128
    view[0] = 1
    del view
    assert pool.stats().current_bytes == 0


def test_with_releases(pool: BufferPool) -> None:
    with pool.acquire(100) as buffer:
        memoryview(buffer)[0] = 1
    assert buffer.released
    with pool.acquire(100) as buffer:
        buffer.release()
    view = None
    with pytest.raises(LeaseError, match="1 views"), pool.acquire(100) as buffer:
        view = memoryview(buffer)
    assert not buffer.released
    del view
    buffer.release()
    with pytest.raises(ZeroDivisionError), pool.acquire(100) as buffer:
        _ = 1 / 0
    assert buffer.released
    buffer = pool.acquire(100)
    view = memoryview(buffer)
    buffer.__exit__(KeyError, KeyError(), None)
    assert not buffer.released
    del view
    buffer.release()


def test_one_of_many_racing_releases_succeeds(pool: BufferPool) -> None:
    for _ in range(50):
        buffer = pool.acquire(100)
        outcomes: list[str] = []
        start = threading.Barrier(4)

        def race(buffer=buffer, outcomes=outcomes, start=start) -> None:
            start.wait()
            try:
                buffer.release()
                outcomes.append("released")
            except LeaseError:
                outcomes.append("refused")

        threads = [threading.Thread(target=race) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["refused"] * 3 + ["released"]
        assert pool.stats().current_bytes == 0


def test_the_capacity_holds() -> None:
    pool = BufferPool(capacity_bytes=20_000_000)
    frames = [pool.empty(FRAME, "uint8") for _ in range(3)]
    with pytest.raises(MemoryLimitError, match="may hold 20000000 bytes and 18874368 of them are in use"):
        pool.empty(FRAME, "uint8")
    frames.pop()
    frames.append(pool.empty(FRAME, "uint8"))
    frames.clear()
    pool.empty(15_000_000, "uint8")
    stats = pool.stats()
    assert stats.held_bytes <= 20_000_000
    assert stats.peak_bytes == 18874368


def test_statistics(pool: BufferPool) -> None:
    named = BufferPool(1 << 20, name="frames")
    assert (named.stats().name, named.stats().capacity_bytes) == ("frames", 1 << 20)
    assert repr(named) == "<BufferPool 'frames': 0 bytes in use of 0 held>"
    array = pool.empty(100, "uint8")
    large = pool.empty(40 << 20, "uint8")
    stats = pool.stats()
    assert [(use.block_bytes, use.current_bytes, use.free_bytes) for use in stats.classes] == [
        (128, 128, 0),
        (None, 40 << 20, 0),
    ]
    assert stats.current_bytes == stats.peak_bytes == stats.held_bytes == 128 + (40 << 20)
    del array, large
    pool.empty(100, "uint8")
    stats = pool.stats()
    assert (stats.current_bytes, stats.hits, stats.misses) == (0, 1, 2)
    assert stats.total_bytes == 256 + (40 << 20)
    pool.reset_peak()
    assert pool.stats().peak_bytes == 0
    assert pool.trim(older_than_s=60) == 0
    assert pool.trim() == stats.held_bytes
    assert pool.stats().classes == ()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not count page faults for us")
def test_recycled_frames_cost_no_page_faults(pool: BufferPool) -> None:
    def look() -> None:
        frames = [pool.empty(FRAME, "uint8") for _ in range(8)]
        for frame in frames:
            frame.fill(1)

    look()
    before = pool.stats()
    for _ in range(10):
        look()
    after = pool.stats()
    # Fresh frames of 4 KiB pages would be 12,150 faults a round; a few come from the interpreter's own
    # memory.
    assert after.page_faults - before.page_faults < 100
    assert after.misses == before.misses == 8


def test_the_default_pool_is_one() -> None:
    assert default_pool() is default_pool()
    assert isinstance(default_pool(), BufferPool)
    assert default_pool().stats().name == "default"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"capacity_bytes": -1}, "capacity_bytes cannot be negative, got -1"),
        ({"leak_tracking": "some"}, 'can be off, sampled or full, got "some"'),
        ({"leak_tracking": "sampled", "sample_every": 0}, "sample_every must be 1 or more, got 0"),
        ({"trim_after_s": -1}, "trim_after_s must be seconds from 0 on, got -1"),
        ({"trim_after_s": float("nan")}, "trim_after_s must be seconds from 0 on, got NaN"),
    ],
)
def test_senseless_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BufferPool(**options)


def take(pool: BufferPool, size: int) -> np.ndarray:
    return pool.empty(size, "uint8")


def test_leaks_name_who_took_them() -> None:
    pool = BufferPool(leak_tracking="full")
    first, second = take(pool, 100), pool.acquire(200)
    leaks = pool.check_leaks()
    assert [leak.size for leak in leaks] == [100, 200]
    assert leaks[0].id < leaks[1].id
    assert 0 <= leaks[1].age_s <= leaks[0].age_s
    innermost = leaks[0].stack[-1]
    assert innermost.filename == take.__code__.co_filename
    assert innermost.lineno == take.__code__.co_firstlineno + 1
    assert "test_leaks_name_who_took_them" in leaks[0].stack[-2].name
    assert "200 bytes, in use for 0.0 s, taken at\n" in str(leaks[1])
    assert 'return pool.empty(size, "uint8")' in str(leaks[0])
    assert pool.check_leaks(older_than_s=60) == []
    del first
    second.release()
    assert pool.check_leaks() == []


def test_sampling_and_its_absence() -> None:
    pool = BufferPool(leak_tracking="sampled", sample_every=5)
    kept = [take(pool, 10) for _ in range(50)]
    assert len(pool.check_leaks()) == 10
    untracked = BufferPool()
    kept.append(take(untracked, 10))
    assert untracked.check_leaks() == []
    with pytest.raises(InputError, match="older_than_s"):
        pool.check_leaks(older_than_s=-1)


@pytest.mark.skipif(sys.platform == "win32", reason="tracemalloc's functions are looked up on Unix only")
def test_blocks_stand_in_tracemalloc() -> None:
    pool = BufferPool()

    def traced() -> list[tracemalloc.Trace]:
        only_ours = tracemalloc.DomainFilter(True, TRACEMALLOC_DOMAIN)
        return list(tracemalloc.take_snapshot().filter_traces([only_ours]).traces)

    before = pool.acquire(10)
    tracemalloc.start(5)
    try:
        array, buffer, dropped = take(pool, 1000), pool.acquire(2000), pool.acquire(3000)
        assert sorted(trace.size for trace in traced()) == [1000, 2000, 3000]
        (of_array,) = (trace for trace in traced() if trace.size == 1000)
        assert of_array.traceback[-1].lineno == take.__code__.co_firstlineno + 1
        del array, dropped
        buffer.release()
        before.release()
        assert traced() == []
        again = take(pool, 1000)
        assert len(traced()) == 1
    finally:
        tracemalloc.stop()
    del again


def test_debug_mode_reports_overruns(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = BufferPool(debug=True)
    array = pool.empty(100, "uint8")
    assert (array == 0xA5).all()
    overlong = np.lib.stride_tricks.as_strided(array, (101,), (1,))
    buffer = pool.acquire(100)
    beyond = np.lib.stride_tricks.as_strided(np.frombuffer(buffer, "uint8"), (120,), (1,))
    overlong[100] = beyond[110] = 1
    del beyond
    with pytest.raises(LeaseError, match="a block of 100 bytes was written past its end, at byte 110"):
        buffer.release()
    assert buffer.released
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    arrays = {"only": (array, overlong)}
    del array, overlong
    # The array dies while the error of the lookup is on its way.
    with pytest.raises(KeyError, match="absent"):
        arrays.pop("only")[0].sum() + {}["absent"]
    assert [str(report.exc_value) for report in seen] == [
        "a block of 100 bytes was written past its end, at byte 100"
    ]
    assert len(pool.violations()) == 2


def test_debug_mode_keeps_sound_use_silent() -> None:
    pool = BufferPool(debug=True, leak_tracking="full", capacity_bytes=80 << 20)
    for size in (0, 1, 64, 5000, 3_000_000, 50_000_000):
        for _ in range(3):
            pool.empty(size, "uint8").fill(1)
            with pool.acquire(size) as buffer:
                np.frombuffer(buffer, "uint8")[...] = 2
    pool.trim()
    assert pool.violations() == []
    assert pool.stats().held_bytes == 0
    assert BufferPool().violations() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_goes_on(pool: BufferPool) -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            for size in (100, 3_000_000):
                pool.empty(size, "uint8")
            pool.trim()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    kept = pool.empty(1000, "uint8")
    kept.fill(7)
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    for size in (100, 5000, 3_000_000, 50_000_000):
                        pool.empty(size, "uint8").fill(1)
                    pool.trim()
                    default_pool().empty(10, "uint8").fill(1)
                    status = int(not (kept == 7).all())
                finally:
                    os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_threads_pass_arrays_on(pool: BufferPool) -> None:
    handed: queue.SimpleQueue = queue.SimpleQueue()
    wrong: list[int] = []

    def produce(mark: int) -> None:
        for step in range(500):
            array = pool.empty(1000 + step % 7 * 1000, "uint8")
            array.fill(mark)
            handed.put((mark, array))
        handed.put(None)

    def consume() -> None:
        while (item := handed.get()) is not None:
            mark, array = item
            if not (array == mark).all():
                wrong.append(mark)
            del item, array

    threads = [threading.Thread(target=produce, args=(mark,)) for mark in range(4)]
    threads += [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    stats = pool.stats()
    assert stats.current_bytes == 0
    assert stats.hits + stats.misses == 2000
    assert pool.trim() == stats.held_bytes


def test_an_interpreter_may_end_with_blocks_in_use() -> None:
    program = (
        "import threading, numpy, vedette\n"
        "pools = [vedette.memory.BufferPool(debug=debug, leak_tracking='full') for debug in (False, True)]\n"
        "arrays = [pool.empty(size, 'uint8') for pool in pools for size in (10, 9_000_000)]\n"
        "buffers = [pool.acquire(1000) for pool in pools]\n"
        "views = [memoryview(buffers[0]), arrays[1][5:]]\n"
        "cycle = [arrays[0]]; cycle.append(cycle)\n"
        "kept = threading.local(); kept.array = vedette.memory.default_pool().empty(10, 'uint8')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
    assert done.stderr == b""
