"""Budgets, in virtual time: a simulated process whose clocks move only when it works or sleeps."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.errors import InputError
from vedette.runtime import Budget, effective_cores
from vedette.runtime.affinity import allowed_cores
from vedette.runtime.amounts import bytes_of, cores_of
from vedette.runtime.line import Line, Turn
from vedette.runtime.quota import quota_cores, usable_cores
from vedette.runtime.target import CpuPressure, TargetPolicy, stalled_seconds


class Process:
    """Clocks of a process on a machine, and what it used when."""

    def __init__(self, threads: float = 1.0) -> None:
        self.wall = 1000.0
        self.cpu = 50.0
        self.threads = threads
        self.history = [(self.wall, self.cpu)]

    def clocks(self) -> tuple[float, float]:
        return self.wall, self.cpu

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.history.append(self.clocks())

    def work(self, cpu_seconds: float, share: float = 1.0) -> None:
        """Use CPU; where others compete, the process gets a share of each of its threads only."""
        self.wall += cpu_seconds / self.threads / share
        self.cpu += cpu_seconds
        self.history.append(self.clocks())

    def used_between(self, start: float, end: float) -> float:
        """CPU seconds used in a span of wall time, evenly within each step."""
        total = 0.0
        for (a, used_a), (b, used_b) in zip(self.history, self.history[1:], strict=False):
            overlap = min(b, end) - max(a, start)
            if overlap > 0:
                total += (used_b - used_a) * overlap / (b - a)
        return total

    def windows(self, seconds: float = 10.0) -> list[float]:
        first, last = self.history[0][0], self.history[-1][0]
        starts = [first + step * 0.5 for step in range(int((last - first - seconds) / 0.5))]
        return [self.used_between(start, start + seconds) for start in starts]


def budget_of(process: Process, cpu: str, cores: float = 2.0, **options: object) -> Budget:
    return Budget(cpu, machine_cores=cores, clocks=process.clocks, sleep=process.sleep, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [5, 25, 60])
@pytest.mark.parametrize("slice_s", [0.004, 0.01, 0.03])
def test_a_busy_job_uses_its_budget_in_every_window(share: int, slice_s: float) -> None:
    process = Process(threads=2.0)
    budget = budget_of(process, f"{share}%")
    while process.wall < 1040:
        with budget.slice():
            process.work(slice_s)
    allowed = share / 100 * 2 * 10
    for used in process.windows():
        assert 0.9 * allowed <= used <= 1.1 * allowed


@given(
    st.lists(
        st.tuples(st.floats(0.0, 0.4), st.floats(0.0, 3.0), st.floats(0.2, 1.0)), min_size=1, max_size=60
    ),
    st.sampled_from([0.1, 0.5, 1.2]),
)
@settings(deadline=None)
def test_no_window_exceeds_the_budget_by_more_than_a_burst_and_a_slice(
    steps: list[tuple[float, float, float]], cores: float
) -> None:
    process = Process()
    budget = budget_of(process, f"{cores} cores")
    for work, idle, share in steps:
        process.sleep(idle)
        with budget.slice():
            process.work(work, share)
    largest = max(work for work, _, _ in steps)
    burst = min(0.1, 0.3 * cores)
    for window in (1.0, 10.0):
        for used in process.windows(window):
            assert used <= cores * window + burst + largest + 1e-6


def test_idle_time_earns_no_more_than_a_burst() -> None:
    process = Process()
    budget = budget_of(process, "0.5 cores")
    process.sleep(3600)
    start = process.wall
    while process.wall < start + 1:
        with budget.slice():
            process.work(0.01)
    assert process.used_between(start, start + 1) <= 0.5 + 0.1 + 0.02


def test_what_others_of_the_process_use_counts() -> None:
    process = Process()
    budget = budget_of(process, "0.5 cores")
    with budget.slice():
        pass
    process.work(1.1)
    start = process.wall
    with budget.slice():
        pass
    # A burst of 0.1 was there, and 0.55 was earned while 1.1 was used.
    assert process.wall - start == pytest.approx((1.1 - 0.55 - 0.1) / 0.5)


def test_a_long_slice_can_wait_inside() -> None:
    process = Process()
    budget = budget_of(process, "0.5 cores")
    with budget.slice():
        for _ in range(200):
            process.work(0.05)
            budget.checkpoint()
    for used in process.windows():
        assert 4.5 <= used <= 5.5


def test_without_a_limit_nothing_waits() -> None:
    process = Process()
    budget = Budget(clocks=process.clocks, sleep=process.sleep)
    with budget.slice():
        process.work(5)
    with budget.slice():
        assert process.wall == 1005
    assert budget.stats().limit_cores is None
    assert budget.stats().used_cores == pytest.approx(1.0)


def test_slices_nest_without_waiting_twice() -> None:
    process = Process()
    budget = budget_of(process, "0.5 cores")
    with budget.slice():
        process.work(1)
        before = process.wall
        with budget.slice():
            assert process.wall == before
    assert budget.stats().slices == 1


def test_stats_tell_what_was_used_and_waited() -> None:
    process = Process()
    budget = budget_of(process, "25%")
    for _ in range(400):
        with budget.slice():
            process.work(0.02)
    stats = budget.stats()
    assert stats.limit_cores == stats.target_cores == 0.5
    assert stats.used_cores == pytest.approx(0.5, rel=0.05)
    assert stats.slices == 400
    assert stats.waited_s == pytest.approx(8 / 0.5 - 8, rel=0.05)


def test_functions_and_coroutines_are_slices_when_decorated() -> None:
    budget = Budget("50%", machine_cores=2)

    @budget.limit
    def double(x: int) -> int:
        """Twice as much."""
        return 2 * x

    @budget.limit
    async def triple(x: int) -> int:
        return 3 * x

    assert (double(4), double.__doc__) == (8, "Twice as much.")
    assert asyncio.run(triple(4)) == 12
    assert asyncio.run(budget.run(double, 5)) == 10
    assert budget.stats().slices == 3


def test_coroutines_wait_in_line_with_threads_and_may_be_cancelled() -> None:
    process = Process()
    budget = budget_of(process, "0.5 cores")
    order: list[int] = []

    async def work(number: int) -> None:
        async with budget.slice():
            order.append(number)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.to_thread(budget._line.enter, Turn())
        tasks = [asyncio.create_task(work(number)) for number in range(5)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.sleep(0)
        budget._line.leave()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert order == [0, 1, 3, 4]


def in_line(line: Line, count: int, work: Callable[[int, Turn], object]) -> list[threading.Thread]:
    """Threads that wait in a line whose head is taken, in the order of their numbers."""

    def run(number: int) -> None:
        turn = Turn()
        line.enter(turn)
        work(number, turn)

    threads = []
    for number in range(count):
        threads.append(threading.Thread(target=run, args=(number,)))
        threads[-1].start()
        while len(line._waiting) <= number:
            pass
    return threads


def test_threads_come_to_the_head_first_come_first_served() -> None:
    line = Line()
    line.enter(Turn())
    order: list[int] = []
    threads = in_line(line, 6, lambda number, _: (order.append(number), line.leave()))
    line.leave()
    for thread in threads:
        thread.join()
    assert order == list(range(6))
    assert line.is_empty
    assert not line._taken


def test_the_head_lets_in_those_who_came_first() -> None:
    line = Line()
    line.enter(Turn())
    admitted: dict[int, float | None] = {}
    threads = in_line(line, 3, lambda number, turn: admitted.update({number: turn.share}))
    for number in range(2):
        assert line.admit(number / 4)
        threads[number].join()
    assert admitted == {0: 0.0, 1: 0.25}
    assert not line.is_empty
    line.leave()
    threads[2].join()
    assert admitted[2] is None, "it is the head"
    assert not line.admit(1.0)


def test_slices_within_the_budget_do_not_wait_for_each_other_to_wake_up() -> None:
    process = Process()
    budget = budget_of(process, "0.5 cores")
    held, began = threading.Event(), threading.Semaphore(0)

    def work() -> None:
        with budget.slice():
            began.release()
            held.wait(60)

    budget._line.enter(Turn())
    threads = [threading.Thread(target=work) for _ in range(4)]
    for number, thread in enumerate(threads):
        thread.start()
        while len(budget._line._waiting) <= number:
            pass
    # Whoever is at the head begins, and has not left when the others begin too.
    budget._begin()
    for _ in threads:
        assert began.acquire(timeout=60)
    held.set()
    for thread in threads:
        thread.join()
    assert budget.stats().slices == 5
    assert budget._reserved_s == pytest.approx(0.0)


def test_slices_beyond_the_budget_begin_one_by_one() -> None:
    process = Process()
    budget = budget_of(process, "0.5 cores")
    for _ in range(50):
        with budget.slice():
            process.work(0.04)
    budget._line.enter(Turn())
    threads = in_line(budget._line, 3, lambda *_: budget._line.leave())
    budget._wait_until_paid()
    # All has been paid, and what the head will use is not there yet: nobody else begins.
    budget._begin()
    assert len(budget._line._waiting) == 3
    budget._line.leave()
    for thread in threads:
        thread.join()


def test_closing_lets_those_who_wait_go_on() -> None:
    clock = [0.0, 100.0]
    budget = Budget("1%", machine_cores=1, clocks=lambda: (clock[0], clock[1]))
    clock[1] += 1000
    waiting = threading.Thread(target=lambda: budget.slice().__enter__())
    waiting.start()
    budget.close()
    waiting.join(30)
    assert not waiting.is_alive()
    with budget.slice():
        pass


def test_the_target_falls_while_others_wait_and_rises_when_they_do_not() -> None:
    process = Process()
    stalled = [0.0]
    budget = budget_of(process, "50%", minimum_cpu="10%", pressure=CpuPressure(lambda: stalled[0]))

    def run(seconds: float, waiting: float) -> float:
        end = process.wall + seconds
        while process.wall < end:
            before = process.wall
            with budget.slice():
                process.work(0.01)
            stalled[0] += waiting * (process.wall - before)
        target = budget.target_cores
        assert target is not None
        return target

    assert run(3, 0.0) == pytest.approx(1.0)
    assert run(10, 0.5) == pytest.approx(0.2)
    assert run(5, 0.15) == pytest.approx(0.2), "between the marks nothing changes"
    assert 0.2 < run(5, 0.0) < 0.5, "it grows slowly"
    assert run(40, 0.0) == pytest.approx(1.0)
    assert budget.stats().pressure == pytest.approx(0.0, abs=1e-6)


@given(st.lists(st.floats(0, 1), max_size=200), st.floats(0.01, 1), st.floats(0, 3))
def test_the_target_stays_within_its_bounds(pressures: list[float], minimum: float, span: float) -> None:
    policy = TargetPolicy(minimum, minimum + span)
    for pressure in pressures:
        assert minimum <= policy.step(pressure, wanted=True) <= minimum + span


def test_a_target_nobody_wants_does_not_grow() -> None:
    policy = TargetPolicy(0.1, 1.0)
    for _ in range(10):
        policy.step(1.0, wanted=True)
    for _ in range(50):
        assert policy.step(0.0, wanted=False) == pytest.approx(0.1)


def test_waiting_for_cores_is_read_from_the_kernel_or_felt(tmp_path: Path) -> None:
    (tmp_path / "proc/pressure").mkdir(parents=True)
    (tmp_path / "proc/pressure/cpu").write_text("some avg10=1 avg60=2 avg300=3 total=2500000\nfull total=1\n")
    assert stalled_seconds(tmp_path) == 2.5
    assert stalled_seconds(tmp_path / "nowhere") is None
    felt = CpuPressure(lambda: None)
    assert felt.read(1.0) == 0.0
    for _ in range(20):
        felt.overslept(0.01, 0.05)
    assert felt.read(2.0) == pytest.approx(0.78, abs=0.02)


@pytest.mark.parametrize(
    ("text", "cores"), [("25%", 1.0), ("100%", 4.0), ("1.5 cores", 1.5), ("1 core", 1.0), (" 12.5 % ", 0.5)]
)
def test_amounts_of_cpu(text: str, cores: float) -> None:
    assert cores_of(text, 4) == cores


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/user/app\n", {"user/cpu.max": "50000 100000", "user/app/cpu.max": "max 100000"}, 0.5),
        ("0::/user/app\n", {"cpu.max": "300000 100000", "user/app/cpu.max": "200000 100000"}, 2.0),
        ("0::/of/the/host\n", {"cpu.max": "25000 100000"}, 0.25),
        (
            "3:cpu,cpuacct:/app\n1:memory:/x\n",
            {"cpu,cpuacct/app/cpu.cfs_quota_us": "250000", "cpu,cpuacct/app/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("nonsense\n\n", {}, None),
        ("0::/\n", {}, None),
    ],
)
def test_quotas_of_cgroups(tmp_path: Path, groups: str, files: dict[str, str], cores: float | None) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert quota_cores(tmp_path) == cores
    allowed = len(allowed_cores())
    assert usable_cores(tmp_path) == (allowed if cores is None else min(cores, allowed))


def test_without_cgroups_there_is_no_quota(tmp_path: Path) -> None:
    assert quota_cores(tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux and Windows have affinity masks")
def test_a_share_is_one_of_the_cores_in_the_affinity_mask() -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        assert Budget("50%").stats().limit_cores == min(0.5, 0.5 * usable_cores())
        assert effective_cores() == 1
    finally:
        os.sched_setaffinity(0, cores)


@pytest.mark.parametrize("text", ["0%", "101%", "5 cores", "half", "", "25", "-3%", "1e9%", 0.25, 1])
def test_senseless_amounts_of_cpu_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="CPU budget"):
        cores_of(text, 4)


@pytest.mark.parametrize(
    ("amount", "count"), [(7, 7), ("500MB", 500_000_000), ("2GiB", 2 << 30), ("1.5 kb", 1500), ("9 B", 9)]
)
def test_amounts_of_memory(amount: int | str, count: int) -> None:
    assert bytes_of(amount) == count


@pytest.mark.parametrize("amount", ["", "500", "much", 0, -1, "0MB"])
def test_senseless_amounts_of_memory_are_refused(amount: int | str) -> None:
    with pytest.raises(InputError, match="memory budget"):
        bytes_of(amount)


def test_a_minimum_needs_a_maximum() -> None:
    for cpu, minimum in (("10%", "20%"), (None, "20%")):
        with pytest.raises(InputError, match="must not be above"):
            Budget(cpu, minimum_cpu=minimum, machine_cores=2)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process uses")
def test_a_memory_budget_tells_and_trims() -> None:
    from vedette.memory import BufferPool

    levels: list[str] = []
    with Budget(memory=1, on_memory=levels.append) as budget:
        assert budget.memory_level == "critical"
        stats = budget.stats()
        assert stats.memory_limit_bytes == 1
        assert stats.memory_bytes is not None
        assert stats.memory_bytes > 1
        pool = BufferPool()
        pool.empty(5_000_000, "uint8")
        budget._monitor.wake()  # type: ignore[union-attr]
        threading.Event().wait(0.05)
        while pool.stats().held_bytes:
            budget._monitor.wake()  # type: ignore[union-attr]
            threading.Event().wait(0.01)
    assert levels == ["critical"]
    with Budget(memory="1TB") as ample:
        assert ample.memory_level == "normal"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_the_budget_to_itself() -> None:
    budget = Budget("50%", machine_cores=2)
    budget._lock.acquire()
    child = os.fork()
    if child == 0:
        with budget.slice():
            pass
        stats = budget.stats()
        os._exit(0 if stats.limit_cores == 1.0 and stats.level_s <= 0.1 else 1)
    budget._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
