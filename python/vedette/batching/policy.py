"""Which items run together, and when: a state machine without clock, threads or chance.

A driver tells it what happens and when, runs the batches it gives, and sleeps until the time it names.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from vedette.errors import InputError


def shape_of(item: Any) -> Hashable:
    """Arrays run together where shape and type are equal; anything else runs with anything else."""
    shape = getattr(item, "shape", None)
    return None if shape is None else (shape, str(getattr(item, "dtype", "")))


@dataclass(frozen=True)
class BatchConfig:
    """How items become batches.

    Raises
    ------
    InputError
        A value has no meaning, or two contradict each other.
    """

    max_batch_size: int = 32
    max_wait_ms: float = 0.0
    """How long the oldest item waits for company. 0: items run with what is there when a slot is free."""
    max_queue_size: int = 1000
    """Items that may wait; more are refused at once."""
    preferred_batch_size: int | Sequence[int] | None = None
    """Sizes that run as soon as they are reached, beside ``max_batch_size``; the largest of them first."""
    max_concurrency: int = 1
    """Batches that may run at the same time."""
    isolate_failures: bool = True
    """Whether a batch that fails is run again in halves, until what fails fails alone. Turn it off for a
    ``process`` that must not see an item twice."""
    group_by: Callable[[Any], Hashable] | None = shape_of
    """Items run together only where this gives the same for them; None: all do."""

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_queue_size", "max_concurrency"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.max_wait_ms >= 0:
            raise InputError(f"max_wait_ms must not be negative, got {self.max_wait_ms}")
        for size in self.preferred_sizes:
            if not 1 <= size <= self.max_batch_size:
                raise InputError(
                    f"preferred_batch_size must be 1 to {self.max_batch_size} (max_batch_size), got {size}"
                )

    @property
    def preferred_sizes(self) -> tuple[int, ...]:
        """The sizes that run at once, largest first."""
        preferred = self.preferred_batch_size
        sizes = () if preferred is None else (preferred,) if isinstance(preferred, int) else tuple(preferred)
        return tuple(sorted({*sizes, self.max_batch_size}, reverse=True))


class Place:
    """An item and where it stands, which each driver's future is; the policy writes the last two."""

    item: Any
    group: Hashable
    priority: int
    deadline: float | None
    arrived: float
    waiting: bool

    def hold(self, item: Any, group: Hashable, priority: int, deadline: float | None) -> None:
        """Take an item that has not been submitted yet."""
        self.item = item
        self.group = group
        self.priority = priority
        self.deadline = deadline
        self.arrived = 0.0
        self.waiting = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Items to be run now, and why now."""

    entries: list[Any]
    reason: str
    """``preferred``, ``full``, ``waited``, ``target`` (as many as the target latency allows), ``drain``."""


@dataclass(slots=True)
class Group:
    """Items that may run together: a queue for each priority."""

    lanes: dict[int, deque[Any]] = field(default_factory=dict)
    count: int = 0
    """Of those that wait; lanes may hold some that no longer do."""
    latest: float = 0.0

    def oldest(self) -> float:
        """When the item came that has waited longest."""
        heads = [head for lane in self.lanes.values() if (head := self.head(lane)) is not None]
        return float(min(head.arrived for head in heads))

    def first(self) -> Any:
        """The item that runs first."""
        return next(entry for _, lane in sorted(self.lanes.items()) if (entry := self.head(lane)) is not None)

    @staticmethod
    def head(lane: deque[Any]) -> Any:
        """The first of a lane that still waits."""
        while lane and not lane[0].waiting:
            lane.popleft()
        return lane[0] if lane else None

    def take(self, size: int) -> list[Any]:
        """Up to so many, of the most urgent lanes first."""
        taken: list[Any] = []
        for priority in sorted(self.lanes):
            lane = self.lanes[priority]
            while lane and len(taken) < size:
                entry = lane.popleft()
                if entry.waiting:
                    entry.waiting = False
                    taken.append(entry)
            if not lane:
                del self.lanes[priority]
        self.count -= len(taken)
        return taken

    def sweep(self) -> None:
        """Forget those who no longer wait, once they are most of what is held."""
        held = sum(map(len, self.lanes.values()))
        if held > 2 * self.count + 64:
            for priority, lane in self.lanes.items():
                self.lanes[priority] = deque(entry for entry in lane if entry.waiting)


class BatchPolicy:
    """Preferred sizes run at once; otherwise the age of the oldest item decides."""

    def __init__(self, config: BatchConfig) -> None:
        self.config = config
        self.queued = 0
        self.running = 0
        self.draining = False
        self.counts: Counter[str] = Counter()
        """Items submitted, refused, cancelled and expired; batches by reason."""
        self._groups: dict[Hashable, Group] = {}
        self._deadlines: list[tuple[float, int, Any]] = []
        self._numbers = count()
        self._wait_s = config.max_wait_ms / 1e3
        self._sizes = config.preferred_sizes

    def submit(self, now: float, entry: Any) -> bool:
        """Take an item in; False where the queue is full."""
        if self.queued >= self.config.max_queue_size:
            self.counts["refused"] += 1
            return False
        group = self._groups.get(entry.group)
        if group is None:
            group = self._groups[entry.group] = Group()
        lane = group.lanes.get(entry.priority)
        if lane is None:
            lane = group.lanes[entry.priority] = deque()
        lane.append(entry)
        entry.arrived = group.latest = now
        entry.waiting = True
        group.count += 1
        self.queued += 1
        if entry.deadline is not None:
            heapq.heappush(self._deadlines, (entry.deadline, next(self._numbers), entry))
        self.counts["submitted"] += 1
        return True

    def cancel(self, entry: Any) -> bool:
        """Drop an item that waits; False where it does not (any more)."""
        return self._drop(entry, "cancelled")

    def expire(self, now: float) -> list[Any]:
        """Drop the items whose deadline has come, whether or not a slot is free."""
        expired = []
        while self._deadlines and (self._deadlines[0][0] <= now or not self._deadlines[0][2].waiting):
            entry = heapq.heappop(self._deadlines)[2]
            if self._drop(entry, "expired"):
                expired.append(entry)
        return expired

    def refuse_all(self) -> list[Any]:
        """Drop every item that waits."""
        dropped = [
            entry
            for group in self._groups.values()
            for lane in group.lanes.values()
            for entry in lane
            if entry.waiting
        ]
        for entry in dropped:
            self._drop(entry, "refused")
        return dropped

    def next_batch(self, now: float, *, grown: bool = False) -> Batch | None:
        """A batch to start now, if one is due and a slot is free; where so asked, only if it has ``grown`` as
        far as it may. One that has not keeps its turn.
        """
        if self.queued == 0 or self.running >= self.config.max_concurrency:
            return None
        due: tuple[tuple[int, float], Hashable, int, str] | None = None
        for key, group in self._groups.items():
            size, reason = self._due(group, now)
            if size:
                first = group.first()
                rank = (first.priority, first.arrived)
                if due is None or rank < due[0]:
                    due = rank, key, size, reason
        if due is None or (grown and due[3] in ("waited", "drain")):
            return None
        _, key, size, reason = due
        group = self._groups[key]
        entries = group.take(size)
        self.queued -= len(entries)
        if not group.count:
            del self._groups[key]
        self.running += 1
        self.counts[reason] += 1
        return Batch(entries, reason)

    def finished(self, size: int, took_s: float) -> None:  # noqa: ARG002 - for policies that learn
        """A batch has ended: its slot is free."""
        self.running -= 1

    def wakeup(self) -> float | None:
        """When to look again, if nothing happens before; None: no need to."""
        times = [
            self._due_at(group)
            for group in self._groups.values()
            if group.count and self.running < self.config.max_concurrency
        ]
        while self._deadlines and not self._deadlines[0][2].waiting:
            heapq.heappop(self._deadlines)
        if self._deadlines:
            times.append(self._deadlines[0][0])
        return min(times, default=None)

    def _due(self, group: Group, now: float) -> tuple[int, str]:
        """How many of a group to run now (0: none yet), and why."""
        waiting = group.count
        for size in self._sizes:
            if size <= waiting:
                return size, "full" if size == self._sizes[0] else "preferred"
        if self.draining:
            return waiting, "drain"
        if now >= self._due_at(group):
            return waiting, "waited"
        return 0, ""

    def _due_at(self, group: Group) -> float:
        return group.oldest() + self._wait_s

    def _drop(self, entry: Any, why: str) -> bool:
        if not entry.waiting:
            return False
        entry.waiting = False
        self.queued -= 1
        self.counts[why] += 1
        group = self._groups[entry.group]
        group.count -= 1
        if group.count:
            group.sweep()
        else:
            del self._groups[entry.group]
        return True
