"""A budget of CPU and memory that a process keeps by itself."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, cast

from vedette import _native
from vedette.errors import InputError
from vedette.metrics import Buckets, Family, registry
from vedette.runtime.amounts import bytes_of, cores_of
from vedette.runtime.line import Line, Turn
from vedette.runtime.quota import usable_cores
from vedette.runtime.resident import resident_bytes
from vedette.runtime.target import CpuPressure, TargetPolicy

if TYPE_CHECKING:
    from vedette.memory import PressureMonitor

__all__ = ["Budget", "BudgetStats"]

P = ParamSpec("P")
R = TypeVar("R")
Level = Literal["normal", "warning", "critical"]

WINDOW_S = 10.0
"""The time over which a budget holds."""

_BURST_S = 0.1
"""Most CPU seconds that are there at once after a pause."""

_BURST_SHARE = 0.03
"""Most of a window's CPU seconds that are; small budgets would else be exceeded by the burst alone."""

_ADAPT_EVERY_S = 1.0
_LOOK_AT_MEMORY_EVERY_S = 0.5
_LONGEST_SLEEP_S = 0.5

_inside: ContextVar[frozenset[int]] = ContextVar("vedette_budgets", default=frozenset())
"""The budgets whose slices the current thread or task is in."""


@dataclass(frozen=True)
class BudgetStats:
    """What a budget allows and what was used."""

    limit_cores: float | None
    """The most the budget allows; None where it sets no limit."""
    target_cores: float | None
    """What it allows now."""
    used_cores: float
    """CPU time of the process over wall time, over the last ten seconds."""
    level_s: float
    """CPU seconds that may be used at once; owed where negative."""
    slices: int
    waited_s: float
    """Seconds that slices waited to begin."""
    paused_s: float
    """Seconds that native work waited within slices."""
    pressure: float
    """Share of time in which some thread of the machine waited for a core, when last looked at."""
    memory_limit_bytes: int | None
    memory_bytes: int | None
    """Physical memory of the process; None where the system does not say."""
    memory_level: Level


class Budget:
    """Keep this process within a share of the machine, over any ten seconds.

    What the process uses on all its threads is measured on its CPU clock and paid for afterwards: a slice of
    work waits until what was used before has been paid. Native work inside a slice also waits between its
    layers, so one long run of a network does not break the budget. Idle time earns nothing beyond a burst.

    ::

        budget = vd.runtime.Budget(cpu="25%", memory="500MB")
        for frame in frames:
            with budget.slice():
                reader.read(frame)

    Parameters
    ----------
    cpu
        A share of all cores this process may use (``"25%"``), or cores (``"0.5 cores"``). None: no limit.
    memory
        Physical memory of the process in bytes or as text (``"500MB"``). A
        :class:`~vedette.memory.PressureMonitor` trims pools as it is approached and tells ``memory_level``.
    minimum_cpu
        Where given, the target moves between it and ``cpu``: down while other processes wait for cores, up
        again when they do not.
    on_memory
        Called with each new memory level, on the monitor's thread.
    name
        What it is called in metrics.
    machine_cores
        What 100 % stands for; the cores this process may use unless given, by its affinity mask and the quota
        of its cgroup, which may be a core and a half.
    clocks, sleep, pressure
        Wall and CPU clock in seconds, a sleep, and a measure of waiting, for tests without time.

    Raises
    ------
    InputError
        An amount cannot be read, is not above 0, or is more than the machine has; or this system does not
        say how much memory a process uses.
    """

    def __init__(
        self,
        cpu: str | None = None,
        memory: int | str | None = None,
        *,
        minimum_cpu: str | None = None,
        on_memory: Callable[[Level], object] | None = None,
        name: str = "budget",
        machine_cores: float | None = None,
        clocks: Callable[[], tuple[float, float]] = _native.process_clocks,
        sleep: Callable[[float], object] | None = None,
        pressure: CpuPressure | None = None,
    ) -> None:
        cores = usable_cores() if machine_cores is None else machine_cores
        self._limit = None if cpu is None else cores_of(cpu, cores)
        minimum = self._limit if minimum_cpu is None else cores_of(minimum_cpu, cores)
        if minimum is not None and (self._limit is None or minimum > self._limit):
            raise InputError(f"minimum_cpu ({minimum_cpu!r}) must not be above cpu ({cpu!r})")
        self._clocks = clocks
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self._pressure = pressure or CpuPressure()
        self._renew_locks()
        wall, used = clocks()
        self._samples: deque[tuple[float, float]] = deque([(wall, used)])
        self._policy: TargetPolicy | None = None
        self._throttle: _native.CpuThrottle | None = None
        self._target = self._limit
        if self._limit is not None and minimum is not None:
            self._throttle = _native.CpuThrottle(self._limit, _burst(self._limit), wall, used)
            if minimum < self._limit:
                self._policy = TargetPolicy(minimum, self._limit)
        self._adapted_at = self._looked_at = wall
        self._waited_before = 0.0
        self._last_pressure = 0.0
        self._slices = 0
        self._waited_s = 0.0
        self._typical_s = 0.0
        self._reserved_s = 0.0
        self._level_s = 0.0
        self._memory_limit = None if memory is None else bytes_of(memory)
        self._monitor = self._watch_memory(on_memory)
        self._waits = Buckets()
        self.name = name
        _budgets.add(self)
        registry().track(self)

    def _renew_locks(self) -> None:
        self._line = Line()
        self._lock = threading.Lock()

    def _after_fork(self) -> None:
        # A child has a CPU clock of its own that starts at zero, and locks whose holders stayed behind.
        self._renew_locks()
        wall, used = self._clocks()
        self._samples = deque([(wall, used)])
        self._reserved_s = 0.0
        if self._target is not None:
            self._throttle = _native.CpuThrottle(self._target, _burst(self._target), wall, used)

    def _watch_memory(self, on_memory: Callable[[Level], object] | None) -> PressureMonitor | None:
        if self._memory_limit is None:
            return None
        if resident_bytes() is None:
            raise InputError(
                f"a memory budget needs Linux: {sys.platform} does not say how much memory is used"
            )
        from vedette.memory import PressureMonitor

        # The monitor keeps what it calls alive; through on_memory alone, not through the budget.
        return PressureMonitor(on_memory, process_limit_bytes=self._memory_limit)

    def slice(self) -> Slice:
        """A piece of work within the budget, for ``with`` or ``async with``; it waits before it begins.

        Slices may be nested: only the outermost waits. Keep them short (a frame, a batch): what is not native
        runs to its end whatever it costs, and is paid for afterwards.
        """
        return Slice(self)

    def limit(self, function: Callable[P, R]) -> Callable[P, R]:
        """Have each call of a function, or of a coroutine function, be a slice: ``@budget.limit``."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def limited(*args: P.args, **kwargs: P.kwargs) -> Any:
                async with self.slice():
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", limited)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with self.slice():
                return function(*args, **kwargs)

        return call

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function within a slice on another thread; the event loop goes on meanwhile."""
        return await asyncio.to_thread(self.limit(function), *args, **kwargs)

    def checkpoint(self) -> None:
        """Wait here, inside a long slice, until what was used has been paid for."""
        self._wait_until_paid()

    def stats(self) -> BudgetStats:
        """What the budget allows and what was used."""
        self._settle()
        with self._lock:
            (first, used_before), (last, used) = self._samples[0], self._samples[-1]
            monitor = self._monitor
            return BudgetStats(
                limit_cores=self._limit,
                target_cores=self._target,
                used_cores=(used - used_before) / (last - first) if last > first else 0.0,
                level_s=self._level_s,
                slices=self._slices,
                waited_s=self._waited_s,
                paused_s=self._throttle.paused_s if self._throttle else 0.0,
                pressure=self._last_pressure,
                memory_limit_bytes=self._memory_limit,
                memory_bytes=resident_bytes(),
                memory_level=monitor.level if monitor else "normal",
            )

    @property
    def memory_level(self) -> Level:
        """``"normal"``, ``"warning"`` from 85 % of the memory on, ``"critical"`` from 95 % on."""
        return self._monitor.level if self._monitor else "normal"

    @property
    def target_cores(self) -> float | None:
        """Cores the budget allows now; None where it sets no limit."""
        return self._target

    def metrics(self) -> Iterator[Family]:
        """The same as metrics."""
        stats = self.stats()
        for name, help, value in (
            ("limit_cores", "the most the budget allows", stats.limit_cores),
            ("target_cores", "what the budget allows now", stats.target_cores),
            ("used_cores", "CPU time over wall time, over ten seconds", stats.used_cores),
            ("level_seconds", "CPU time that may be used at once", stats.level_s),
            ("pressure_ratio", "share of time some thread waited for a core", stats.pressure),
            ("memory_limit_bytes", "the memory the budget allows", stats.memory_limit_bytes),
            ("memory_bytes", "physical memory of the process", stats.memory_bytes),
        ):
            if value is not None:
                yield Family(f"vedette_budget_{name}", "gauge", help).add(float(value), budget=self.name)
        for name, help, value in (
            ("slices", "slices begun", stats.slices),
            ("waited_seconds", "time slices waited to begin", stats.waited_s),
            ("paused_seconds", "time native work waited within slices", stats.paused_s),
        ):
            yield Family(f"vedette_budget_{name}_total", "counter", help).add(float(value), budget=self.name)
        with self._lock:
            waits = self._waits.copy()
        yield Family("vedette_budget_wait_seconds", "histogram", "waits for slices").add(
            waits, budget=self.name
        )

    def close(self) -> None:
        """Let all who wait go on, and end the watch over memory; slices no longer wait."""
        self._closed.set()
        if self._monitor is not None:
            self._monitor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        cpu = "any" if self._limit is None else f"{self._limit:g} cores"
        memory = "" if self._memory_limit is None else f", {self._memory_limit} bytes"
        return f"<Budget {cpu}{memory}>"

    def _settle(self) -> float:
        """Take note of the clocks; seconds until what was used and what is set aside have been paid."""
        with self._lock:
            wall, used = self._clocks()
            self._note(wall, used)
            if self._throttle is None or self._closed.is_set():
                return 0.0
            target = self._adapt(wall)
            self._level_s, _ = self._throttle.settle(wall, used)
            owed = self._reserved_s - self._level_s
            # A clock cannot tell less than a microsecond, and a sleep that it cannot see would never end.
            return owed / target if owed > 1e-6 else 0.0

    def _note(self, wall: float, used: float) -> None:
        samples = self._samples
        # Forty samples describe the window; the newest one is replaced until it is old enough to be kept.
        if len(samples) > 1 and wall - samples[-2][0] < WINDOW_S / 40:
            samples[-1] = (wall, used)
        else:
            samples.append((wall, used))
        while len(samples) > 2 and wall - samples[1][0] >= WINDOW_S:
            samples.popleft()
        if self._monitor is not None and wall - self._looked_at >= _LOOK_AT_MEMORY_EVERY_S:
            self._looked_at = wall
            self._monitor.wake()

    def _adapt(self, wall: float) -> float:
        assert self._throttle is not None
        assert self._target is not None
        if self._policy is not None and wall - self._adapted_at >= _ADAPT_EVERY_S:
            self._adapted_at = wall
            self._last_pressure = self._pressure.read(wall)
            waited = self._waited_s + self._throttle.paused_s
            wanted, self._waited_before = waited > self._waited_before, waited
            target = self._policy.step(self._last_pressure, wanted=wanted)
            if target != self._target:
                self._target = target
                self._throttle.set_rate(target, _burst(target))
        return self._target

    def _wait_until_paid(self) -> None:
        while (delay := self._settle()) > 0:
            asked = min(delay, _LONGEST_SLEEP_S)
            before = self._clocks()[0]
            self._sleep(asked)
            self._slept(asked, self._clocks()[0] - before)

    async def _wait_until_paid_async(self) -> None:
        while (delay := self._settle()) > 0:
            asked = min(delay, _LONGEST_SLEEP_S)
            before = self._clocks()[0]
            await asyncio.sleep(asked)
            self._slept(asked, self._clocks()[0] - before)

    def _slept(self, asked: float, actual: float) -> None:
        with self._lock:
            self._waited_s += actual
            self._waits.observe(actual)
            self._pressure.overslept(asked, actual)

    def _begin(self) -> float:
        """Begin a slice at the head of the line, and those behind it that have nothing to wait for."""
        share = self._set_aside()
        while not self._line.is_empty and self._settle() <= 0:
            following = self._set_aside()
            if not self._line.admit(following):
                self._give_back(following)
                break
        return share

    def _set_aside(self) -> float:
        """Set aside what a slice typically uses, so that slices which wait begin one by one; returns that."""
        with self._lock:
            self._slices += 1
            share = 0.0
            if self._target is not None:
                share = max(0.0, min(self._typical_s, 0.9 * _burst(self._target) - self._reserved_s))
            self._reserved_s += share
            return share

    def _give_back(self, share: float | None) -> None:
        """Take note that a slice for which something was set aside does not begin."""
        if share is not None:
            with self._lock:
                self._slices -= 1
                self._reserved_s = max(0.0, self._reserved_s - share)

    def _end(self, share: float, used: float) -> None:
        with self._lock:
            self._reserved_s = max(0.0, self._reserved_s - share)
            self._typical_s += 0.2 * (used - self._typical_s)
        self._settle()


class Slice:
    """A piece of work within a budget; made by :meth:`Budget.slice`, for one use."""

    __slots__ = ("_budget", "_nested", "_share", "_token", "_used")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._nested = False
        self._share = 0.0
        self._used = 0.0
        self._token: Token[frozenset[int]] | None = None

    def __enter__(self) -> Self:
        budget = self._budget
        if not self._is_nested():
            turn = Turn()
            try:
                budget._line.enter(turn)
            except BaseException:
                budget._give_back(turn.share)
                raise
            if turn.share is None:
                try:
                    budget._wait_until_paid()
                    turn.share = budget._begin()
                finally:
                    budget._line.leave()
            self._enter(turn.share)
        # A nested slice may run on another thread than the outer one.
        if budget._throttle is not None and not budget._closed.is_set():
            budget._throttle.enter()
        return self

    def __exit__(self, *_: object) -> None:
        if self._budget._throttle is not None:
            self._budget._throttle.leave()
        self._leave()

    async def __aenter__(self) -> Self:
        budget = self._budget
        if not self._is_nested():
            turn = Turn()
            try:
                await budget._line.enter_async(turn)
            except BaseException:
                budget._give_back(turn.share)
                raise
            if turn.share is None:
                try:
                    await budget._wait_until_paid_async()
                    turn.share = budget._begin()
                finally:
                    budget._line.leave()
            self._enter(turn.share)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _is_nested(self) -> bool:
        self._nested = id(self._budget) in _inside.get()
        return self._nested

    def _enter(self, share: float) -> None:
        self._share = share
        self._token = _inside.set(_inside.get() | {id(self._budget)})
        self._used = self._budget._clocks()[1]

    def _leave(self) -> None:
        if self._nested:
            return
        assert self._token is not None
        _inside.reset(self._token)
        self._budget._end(self._share, self._budget._clocks()[1] - self._used)


_budgets: weakref.WeakSet[Budget] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for budget in list(_budgets):
        budget._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)


def _burst(cores: float) -> float:
    return min(_BURST_S, _BURST_SHARE * WINDOW_S * cores)
