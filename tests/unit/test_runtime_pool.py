"""Pools of workers: tasks, failures, cancellation, forks, and what the system is asked for."""

import asyncio
import concurrent.futures
import os
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import ClosedError, InputError
from vedette.runtime import Runtime, affinity

SOON_S = 20


def test_tasks_run_and_give_their_results() -> None:
    with Runtime(threads=2) as runtime:
        tasks = [runtime.submit(divmod, number, 3) for number in range(100)]
        assert [task.result(SOON_S) for task in tasks] == [divmod(number, 3) for number in range(100)]
        done, waiting = concurrent.futures.wait(tasks)
        assert (len(done), len(waiting)) == (100, 0)
        assert runtime.submit(dict, a=1).result(SOON_S) == {"a": 1}
    stats = runtime.stats()
    assert (stats.tasks, stats.queued, stats.running) == (101, 0, 0)
    assert stats.cpu_s >= 0
    assert all(worker.busy_s >= 0 for worker in stats.workers)


def test_coroutines_await_tasks_and_cancel_them() -> None:
    async def main(runtime: Runtime) -> list[int]:
        held = threading.Event()
        runtime.submit(held.wait)
        waiting = asyncio.ensure_future(asyncio.wait_for(_result(runtime.submit(print)), 0.01))
        with pytest.raises(asyncio.TimeoutError):
            await waiting
        held.set()
        return await asyncio.gather(*(runtime.submit(pow, 2, number) for number in range(5)))

    async def _result(task: concurrent.futures.Future) -> object:
        return await task  # type: ignore[misc]

    with Runtime(threads=1) as runtime:
        assert asyncio.run(main(runtime)) == [1, 2, 4, 8, 16]


def test_failures_arrive_whole() -> None:
    def inner() -> None:
        raise KeyError("lost")

    def outer() -> None:
        try:
            inner()
        except KeyError as error:
            raise ValueError("not found") from error

    with Runtime(threads=1) as runtime:
        error = runtime.submit(outer).exception(SOON_S)
        assert isinstance(error, ValueError)
        assert isinstance(error.__cause__, KeyError)
        frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert frames[-1] == "outer"
        with pytest.raises(SystemExit):
            runtime.submit(sys.exit, 3).result(SOON_S)
        assert runtime.submit(len, "still here").result(SOON_S) == 10


def test_waiting_tasks_can_be_cancelled() -> None:
    held, began = threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        held.wait(SOON_S)

    ran: list[int] = []
    with Runtime(threads=1) as runtime:
        running = runtime.submit(hold)
        began.wait(SOON_S)
        tasks = [runtime.submit(ran.append, number) for number in range(10)]
        assert tasks[3].cancel()
        assert not running.cancel()
        assert runtime.cancel() == 9
        assert runtime.cancel() == 0
        held.set()
    assert ran == []
    assert all(task.cancelled() for task in tasks)


def test_a_failing_block_cancels_what_waits() -> None:
    tasks = []

    def fail() -> None:
        with Runtime(threads=1) as runtime:
            began = threading.Event()
            runtime.submit(lambda: (began.set(), threading.Event().wait(0.05)))
            began.wait(SOON_S)
            tasks.append(runtime.submit(print))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert tasks[0].cancelled()


def test_a_shut_down_runtime_says_so() -> None:
    runtime = Runtime(threads=1, name="brief")
    tasks = [runtime.submit(abs, -number) for number in range(50)]
    runtime.shutdown()
    assert sum(task.result(0) for task in tasks) == 1225
    with pytest.raises(ClosedError, match="'brief' has been shut down"):
        runtime.submit(print)
    assert repr(runtime) == "<Runtime 'brief': 1 threads, shut down>"


@given(st.lists(st.integers(), max_size=300), st.sampled_from([None, 1, 7, 1000]), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_map_keeps_the_order(items: list[int], chunk_size: int | None, threads: int) -> None:
    with Runtime(threads=threads) as runtime:
        assert runtime.map(lambda item: item * 2, items, chunk_size=chunk_size) == [
            2 * item for item in items
        ]


def test_map_reports_progress_on_the_calling_thread() -> None:
    seen: list[tuple[int, int, int]] = []
    with Runtime(threads=2) as runtime:
        runtime.map(
            str,
            range(100),
            chunk_size=10,
            progress=lambda done, total: seen.append((done, total, threading.get_ident())),
        )
    assert [done for done, _, _ in seen] == sorted({done for done, _, _ in seen})
    assert seen[-1] == (100, 100, threading.get_ident())


def test_map_raises_the_first_failure_and_stops() -> None:
    calls: list[int] = []

    def work(number: int) -> int:
        calls.append(number)
        return 1 // (number - 5)

    with Runtime(threads=1) as runtime:
        with pytest.raises(ZeroDivisionError) as caught:
            runtime.map(work, range(1_000_000), chunk_size=1)
        assert max(calls) == 5
        assert traceback.extract_tb(caught.tb)[-1].name == "work"


def test_maps_nest_in_a_single_worker() -> None:
    with Runtime(threads=1) as runtime:

        def square_sum(count: int) -> int:
            return sum(runtime.map(lambda number: number**2, range(count)))

        assert runtime.submit(runtime.map, square_sum, [3, 4]).result(SOON_S) == [5, 14]


def test_cancelling_everything_ends_a_map() -> None:
    held, began = threading.Event(), threading.Event()
    with Runtime(threads=1) as runtime:
        runtime.submit(lambda: (began.set(), held.wait(SOON_S)))
        began.wait(SOON_S)
        failures: list[BaseException] = []

        def run() -> None:
            try:
                runtime.map(str, range(10))
            except BaseException as error:
                failures.append(error)

        caller = threading.Thread(target=run)
        caller.start()
        while not runtime.cancel():
            pass
        caller.join(SOON_S)
        held.set()
    assert [type(failure) for failure in failures] == [concurrent.futures.CancelledError]


def test_several_runtimes_have_threads_of_their_own() -> None:
    meeting = threading.Barrier(4)
    with Runtime(2, name="left") as left, Runtime(2, name="right") as right:
        tasks = [runtime.submit(meeting.wait, SOON_S) for runtime in (left, right) for _ in range(2)]
        assert sorted(task.result(SOON_S) for task in tasks) == [0, 1, 2, 3]
        assert (left.stats().name, right.stats().name) == ("left", "right")


@pytest.mark.skipif(sys.platform != "linux", reason="the names stand in Linux's files")
def test_threads_bear_the_name_and_keep_to_their_cores() -> None:
    core = affinity.allowed_cores()[-1]
    with Runtime(1, [core], name="pinned", priority="low") as runtime:
        task = runtime.submit(
            lambda: (
                Path("/proc/thread-self/comm").read_text().strip(),
                os.sched_getaffinity(0),
                os.getpriority(os.PRIO_PROCESS, 0),
            )
        )
        assert task.result(SOON_S) == ("pinned-0", {core}, 10)
        assert runtime.stats().workers[0].cores == (core,)


def test_what_the_system_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match="of this process"):
        Runtime(1, [4096])
    with pytest.raises(InputError, match="of this process"):
        Runtime(1, [])
    with pytest.raises(InputError, match='"compact"'):
        Runtime(1, "wide")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="priority must be"):
        Runtime(1, priority="urgent")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="between 1 and"):
        Runtime(0)


def test_other_systems_choose_or_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(affinity.sys, "platform", "win32")
    assert affinity.worker_cores("compact", 6) == [[0], [1], [2], [3], [0], [1]]
    assert affinity.worker_cores([3, 1], 2) == [[3], [1]]
    with pytest.raises(InputError, match=r"some of the cores \[0, 1, 2, 3\] of this process, got \[4\]"):
        affinity.worker_cores([4], 1)
    monkeypatch.setattr(affinity.sys, "platform", "darwin")
    assert affinity.worker_cores(None, 2) is None
    with pytest.raises(InputError, match="darwin does not let threads choose their cores"):
        affinity.worker_cores("spread", 2)


def test_orders_of_cores(tmp_path: Path) -> None:
    # Two packages of two cores with two hardware threads each; siblings are n and n + 4.
    for core in range(8):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{core % 4 // 2}\n")
        (folder / "core_id").write_text(f"{core % 2}\n")
    assert affinity.compact(range(8), tmp_path) == [0, 4, 1, 5, 2, 6, 3, 7]
    assert affinity.spread(range(8), tmp_path) == [0, 2, 1, 3, 4, 6, 5, 7]
    assert affinity.spread([1, 5, 7], tmp_path) == [1, 7, 5]
    assert affinity.compact([3, 1], tmp_path / "undescribed") == [1, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_works_with_workers_of_its_own() -> None:
    code = """
import os
from vedette.runtime import Runtime
runtime = Runtime(threads=2)
assert runtime.map(abs, [-1, -2, -3]) == [1, 2, 3]
child = os.fork()
assert runtime.map(abs, [-1, -2, -3]) == [1, 2, 3]
assert runtime.submit(os.getpid).result(60) == os.getpid()
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print("both")
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=SOON_S,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("both\n", "", 0)


def test_an_interpreter_ends_with_tasks_running_and_waiting() -> None:
    code = """
import time
from vedette.runtime import Runtime
runtime = Runtime(threads=1)
runtime.submit(time.sleep, 0.2)
for _ in range(100): runtime.submit(time.sleep, 1000)
"""
    subprocess.run([sys.executable, "-c", code], timeout=SOON_S, check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_ctrl_c_ends_a_map() -> None:
    code = """
import os, signal, threading, time
from vedette.runtime import Runtime
signal.signal(signal.SIGINT, signal.default_int_handler)
runtime = Runtime(threads=2)
def work(number):
    if number == 3: os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)
try:
    runtime.map(work, range(1_000_000))
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=SOON_S, check=False
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="switches are counted in Linux's files")
def test_idle_workers_never_wake_up() -> None:
    code = """
import time
from pathlib import Path
from vedette.runtime import Runtime
runtime = Runtime(threads=4)
runtime.map(time.sleep, [0.01] * 8)
def switches():
    found = {}
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().startswith("vedette-"):
            text = (task / "status").read_text()
            found[task.name] = int(text.split("\\nvoluntary_ctxt_switches:")[1].split()[0])
    return found
time.sleep(0.05)
before = switches()
time.sleep(0.5)
print(len(before) > 0, switches() == before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_ten_thousand_tasks_with_random_cancellation_leave_nothing_behind() -> None:
    import random

    chance = random.Random(5)
    threads = threading.active_count()
    finished: list[int] = []
    with Runtime(threads=3) as runtime:
        tasks = []
        for number in range(10_000):
            tasks.append(runtime.submit(finished.append, number))
            if chance.random() < 0.3:
                chance.choice(tasks).cancel()
    cancelled = {number for number, task in enumerate(tasks) if task.cancelled()}
    assert all(task.done() for task in tasks)
    assert set(finished) == set(range(10_000)) - cancelled
    assert len(finished) == len(set(finished))
    assert not runtime._calls
    assert threading.active_count() == threads
