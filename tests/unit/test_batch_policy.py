"""The policy of batchers, in virtual time: what runs together, and exactly when."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette.batching import BatchConfig
from vedette.batching.adaptive import AdaptivePolicy, CostModel
from vedette.batching.policy import Batch, BatchPolicy
from vedette.errors import InputError


@dataclass(eq=False)
class Item:
    """What waits."""

    name: int
    group: Any = None
    priority: int = 0
    deadline: float | None = None
    arrived: float = 0.0
    waiting: bool = False


@dataclass
class Machine:
    """Steps a policy through time; a batch takes what ``cost`` says."""

    policy: BatchPolicy
    cost: Any = lambda _: 0.0
    now: float = 0.0
    started: list[tuple[float, list[int], str]] = field(default_factory=list)
    expired: list[tuple[float, int]] = field(default_factory=list)
    ends: list[tuple[float, float, Batch]] = field(default_factory=list)
    latencies: list[tuple[float, float]] = field(default_factory=list)

    def submit(self, item: Item) -> bool:
        taken = self.policy.submit(self.now, item)
        self.step()
        return taken

    def step(self) -> None:
        self.expired += [(self.now, item.name) for item in self.policy.expire(self.now)]
        while batch := self.policy.next_batch(self.now):
            self.started.append((self.now, [item.name for item in batch.entries], batch.reason))
            took = self.cost(len(batch.entries))
            self.ends.append((self.now + took, took, batch))
            self.ends.sort(key=lambda end: end[0])

    def run_until(self, end: float) -> None:
        """Advance from event to event: batches that end, and the times the policy asks for."""
        while True:
            times = [time for time, _, _ in self.ends[:1]]
            if (wakeup := self.policy.wakeup()) is not None:
                times.append(max(wakeup, self.now))
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            while self.ends and self.ends[0][0] <= self.now:
                _, took, batch = self.ends.pop(0)
                self.policy.finished(len(batch.entries), took)
                self.latencies += [(self.now, self.now - item.arrived) for item in batch.entries]
            self.step()
        self.now = max(self.now, end)


def machine(cost: Any = lambda _: 0.0, **options: Any) -> Machine:
    return Machine(BatchPolicy(BatchConfig(**options)), cost)


def test_without_a_wait_what_is_there_runs_at_once() -> None:
    running = machine(cost=lambda _: 1.0, max_batch_size=8)
    running.submit(Item(0))
    for name in (1, 2, 3):
        running.submit(Item(name))
    running.run_until(5)
    assert running.started == [(0.0, [0], "waited"), (1.0, [1, 2, 3], "waited")]


def test_the_age_of_the_oldest_decides() -> None:
    running = machine(max_batch_size=8, max_wait_ms=50)
    running.submit(Item(0))
    running.run_until(0.030)
    running.submit(Item(1))
    running.run_until(0.2)
    assert running.started == [(0.050, [0, 1], "waited")]


def test_preferred_sizes_run_at_once_and_the_largest_first() -> None:
    running = machine(max_batch_size=16, max_wait_ms=50, preferred_batch_size=[4, 8])
    for name in range(4):
        running.submit(Item(name))
    assert running.started == [(0.0, [0, 1, 2, 3], "preferred")]
    busy = machine(cost=lambda _: 1.0, max_batch_size=16, max_wait_ms=5000, preferred_batch_size=[4, 8])
    for name in range(4 + 29):
        busy.submit(Item(name))
    busy.run_until(20)
    sizes = [(time, len(names), reason) for time, names, reason in busy.started]
    assert sizes == [
        (0.0, 4, "preferred"),
        (1.0, 16, "full"),
        (2.0, 8, "preferred"),
        (3.0, 4, "preferred"),
        (5.0, 1, "waited"),
    ]


def test_shapes_do_not_mix_and_the_oldest_goes_first() -> None:
    running = machine(cost=lambda _: 1.0, max_batch_size=8)
    for name, shape in enumerate(["x", "a", "b", "a", "b", "a"]):
        running.submit(Item(name, group=shape))
    running.run_until(10)
    assert [names for _, names, _ in running.started] == [[0], [1, 3, 5], [2, 4]]


def test_full_batches_that_keep_coming_do_not_overtake_an_older_item() -> None:
    policy = BatchPolicy(BatchConfig(max_batch_size=2))
    for name, shape in enumerate("abaa"):
        policy.submit(float(name), Item(name, group=shape))
    first = policy.next_batch(4.0, grown=True)
    assert first is not None
    assert [item.name for item in first.entries] == [0, 2]
    policy.finished(2, 1.0)
    policy.submit(5.0, Item(4, group="a"))
    assert policy.next_batch(6.0, grown=True) is None, "it is the turn of the item that may grow"
    alone = policy.next_batch(6.0)
    assert alone is not None
    assert [item.name for item in alone.entries] == [1]


def test_priorities_go_first_and_keep_their_order() -> None:
    running = machine(cost=lambda _: 1.0, max_batch_size=3)
    running.submit(Item(0))
    for name, priority in enumerate([2, 1, 2, 1, 0, 1], start=1):
        running.submit(Item(name, priority=priority))
    running.run_until(10)
    assert [names for _, names, _ in running.started] == [[0], [5, 2, 4], [6, 1, 3]]


def test_a_full_queue_refuses_at_once() -> None:
    running = machine(cost=lambda _: 1.0, max_batch_size=1, max_queue_size=2)
    assert [running.submit(Item(name)) for name in range(4)] == [True, True, True, False]
    assert running.policy.counts["refused"] == 1
    running.run_until(1)
    assert running.submit(Item(5))


def test_cancelled_items_never_run_and_make_room() -> None:
    running = machine(cost=lambda _: 1.0, max_batch_size=4, max_queue_size=3)
    items = [Item(name) for name in range(4)]
    for item in items:
        running.submit(item)
    assert running.policy.cancel(items[2])
    assert not running.policy.cancel(items[2])
    assert not running.policy.cancel(items[0]), "it runs"
    assert running.submit(Item(4))
    running.run_until(5)
    assert [names for _, names, _ in running.started] == [[0], [1, 3, 4]]


def test_a_cancelled_oldest_item_no_longer_decides() -> None:
    running = machine(max_batch_size=4, max_wait_ms=50)
    first = Item(0)
    running.submit(first)
    running.run_until(0.030)
    running.submit(Item(1))
    running.policy.cancel(first)
    running.run_until(1)
    assert running.started == [(0.030 + 0.050, [1], "waited")]


def test_deadlines_are_kept_while_every_slot_is_busy() -> None:
    running = machine(cost=lambda _: 1.0, max_batch_size=4)
    running.submit(Item(0))
    running.submit(Item(1, deadline=0.25))
    running.submit(Item(2, deadline=1.5))
    running.run_until(5)
    assert running.expired == [(0.25, 1)]
    assert [names for _, names, _ in running.started] == [[0], [2]]


def test_batches_run_side_by_side_up_to_the_limit() -> None:
    running = machine(cost=lambda _: 1.0, max_batch_size=1, max_concurrency=2)
    for name in range(4):
        running.submit(Item(name))
    running.run_until(5)
    assert [(time, names) for time, names, _ in running.started] == [
        (0.0, [0]),
        (0.0, [1]),
        (1.0, [2]),
        (1.0, [3]),
    ]


def test_a_drain_waits_for_nobody() -> None:
    running = machine(max_batch_size=8, max_wait_ms=1000)
    for name in range(3):
        running.submit(Item(name))
    running.policy.draining = True
    running.step()
    assert running.started == [(0.0, [0, 1, 2], "drain")]


def test_with_nothing_waiting_there_is_nothing_to_wake_up_for() -> None:
    running = machine(max_batch_size=2, max_wait_ms=50)
    assert running.policy.wakeup() is None
    item = Item(0, deadline=9.0)
    running.submit(item)
    assert running.policy.wakeup() == 0.050
    running.policy.cancel(item)
    assert running.policy.wakeup() is None
    assert not running.policy._groups


def test_a_storm_of_cancellations_is_forgotten() -> None:
    running = machine(cost=lambda _: 1e9, max_batch_size=1)
    running.submit(Item(-1))
    held = Item(-2)
    running.submit(held)
    for name in range(10_000):
        item = Item(name, deadline=1e12 if name % 2 else None)
        running.submit(item)
        running.policy.cancel(item)
    group = running.policy._groups[None]
    assert sum(map(len, group.lanes.values())) < 100
    running.policy.expire(0.0)


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("submit"),
            st.sampled_from("ab"),
            st.integers(0, 2),
            st.none() | st.floats(0.0, 3.0),
        ),
        st.tuples(st.just("cancel"), st.integers(0, 60)),
        st.tuples(st.just("wait"), st.floats(0.0, 2.0)),
    ),
    max_size=80,
)


@given(
    steps,
    st.integers(1, 6),
    st.integers(1, 12),
    st.integers(1, 3),
    st.sampled_from([0.0, 100.0, 1000.0]),
    st.lists(st.integers(1, 6), max_size=2),
    st.sampled_from([0.0, 0.3]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_each_item_ends_once_in_order_and_within_bounds(
    steps: list[Any],
    size: int,
    room: int,
    slots: int,
    wait_ms: float,
    preferred: list[int],
    took: float,
    adaptive: bool,
) -> None:
    config = BatchConfig(
        max_batch_size=size,
        max_queue_size=room,
        max_concurrency=slots,
        max_wait_ms=wait_ms,
        preferred_batch_size=[value for value in preferred if value <= size],
    )
    policy = AdaptivePolicy(config, 1.0) if adaptive else BatchPolicy(config)
    running = Machine(policy, cost=lambda _: took)
    items: list[Item] = []
    ended: Counter[int] = Counter()
    for kind, *values in steps:
        if kind == "submit":
            group, priority, patience = values
            deadline = None if patience is None else running.now + patience
            item = Item(len(items), group, priority, deadline)
            items.append(item)
            if not running.submit(item):
                assert policy.queued >= room or policy.queued == room
                ended[item.name] += 1
        elif kind == "cancel" and values[0] < len(items):
            ended[values[0]] += policy.cancel(items[values[0]])
        elif kind == "wait":
            running.run_until(running.now + values[0])
        assert policy.queued <= room
        assert policy.running <= slots
        if policy.queued and policy.running < slots:
            assert policy.wakeup() is not None, "an item that waits is never forgotten"
    policy.draining = True
    running.step()
    running.run_until(running.now + 1000)
    assert (policy.queued, policy.running, policy.wakeup()) == (0, 0, None)

    for _, names, _ in running.started:
        assert 1 <= len(names) <= size
        assert len({items[name].group for name in names}) == 1
        ended.update(names)
    for _, name in running.expired:
        ended[name] += 1
    assert ended == Counter(range(len(items))), "each item ends exactly once"
    for group in "ab":
        for priority in range(3):
            order = [
                name
                for _, names, _ in running.started
                for name in names
                if (items[name].group, items[name].priority) == (group, priority)
            ]
            assert order == sorted(order), "first come, first served within a priority"
    for time, name in running.expired:
        assert time >= items[name].deadline  # type: ignore[operator]
    if took == 0.0 and not adaptive:
        for time, names, _ in running.started:
            assert time <= min(items[name].arrived for name in names) + wait_ms / 1e3 + 1e-9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be at least 1, got 0"),
        ({"max_queue_size": 0}, "max_queue_size"),
        ({"max_concurrency": -1}, "max_concurrency"),
        ({"max_wait_ms": -1.0}, "max_wait_ms must not be negative"),
        ({"max_wait_ms": float("nan")}, "max_wait_ms"),
        ({"max_batch_size": 8, "preferred_batch_size": 9}, "must be 1 to 8 .max_batch_size"),
        ({"preferred_batch_size": [0]}, "preferred_batch_size"),
    ],
)
def test_senseless_configurations_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BatchConfig(**options)


def test_the_cost_model_finds_a_line() -> None:
    model = CostModel()
    for size in [1, 4, 8, 2, 16, 3] * 5:
        model.learn(size, 0.002 * size + 0.005)
    assert model.slope == pytest.approx(0.002, rel=0.05)
    assert model.fixed == pytest.approx(0.005, rel=0.1)
    assert model.largest_within(0.0251, 64) in (9, 10)


def test_the_cost_model_takes_batches_of_one_size_for_growing_cost() -> None:
    model = CostModel()
    for _ in range(30):
        model.learn(4, 0.02)
    assert model.fixed == pytest.approx(0.0, abs=1e-9)
    assert model.slope == pytest.approx(0.005)
    assert model.largest_within(10.0, 64) == 8, "not far beyond what was tried"


@given(
    st.lists(st.tuples(st.integers(1, 64), st.floats(1e-6, 10)), min_size=1, max_size=80), st.floats(0, 10)
)
def test_the_cost_model_stays_sane_on_anything(batches: list[tuple[int, float]], seconds: float) -> None:
    model = CostModel()
    for size, took in batches:
        model.learn(size, took)
        assert model.slope >= 0
        assert model.fixed >= 0
        assert 1 <= model.largest_within(seconds, 64) <= 64


def simulate(load: float, seed: int, double_at: float, end: float) -> tuple[Machine, list[float]]:
    """Poisson arrivals on a processor of cost 2 ms + 1 ms an item, with noise, which doubles."""
    import random

    chance = random.Random(seed)
    running = Machine(AdaptivePolicy(BatchConfig(max_batch_size=64, max_queue_size=10_000), 0.1))

    def cost(size: int) -> float:
        factor = 2 if running.now >= double_at else 1
        return factor * (0.002 + 0.001 * size) * chance.uniform(0.97, 1.03)

    running.cost = cost
    name = 0
    while running.now < end:
        running.run_until(running.now + chance.expovariate(load))
        running.submit(Item(name))
        name += 1
    running.run_until(end + 10)
    return running, [time for time, _, _ in running.started]


@pytest.mark.parametrize("seed", range(3))
def test_the_target_holds_when_costs_double_and_is_back_within_fifty_batches(seed: int) -> None:
    # 400 items a second: 80 % of what the doubled cost can do in batches of half the target.
    running, starts = simulate(load=350, seed=seed, double_at=5.0, end=15.0)
    fifty_later = [start for start in starts if start >= 5.0][50]

    def p95(first: float, last: float) -> float:
        found = sorted(latency for time, latency in running.latencies if first <= time < last)
        return found[int(0.95 * len(found))]

    assert p95(1.0, 5.0) <= 0.1
    assert p95(fifty_later, 15.0) <= 0.11


@pytest.mark.parametrize("seed", range(3))
def test_costs_that_spike_do_not_make_batches_small_for_good(seed: int) -> None:
    """On a busy machine a tenth of the batches take three times as long; small ones would cost more still."""
    import random

    chance = random.Random(seed)
    running = Machine(AdaptivePolicy(BatchConfig(max_batch_size=8, max_queue_size=10_000), 0.32))
    running.cost = lambda size: (0.04 + 0.005 * size) * (3 if chance.random() < 0.1 else 1)
    # 80 % of what full batches give.
    rate = 0.8 * 8 / (1.2 * 0.08)
    name = 0
    while running.now < 20:
        running.run_until(running.now + chance.expovariate(rate))
        running.submit(Item(name))
        name += 1
    running.run_until(120)
    latencies = sorted(latency for _, latency in running.latencies)
    # Plain batches of up to eight come to 0.3 to 0.5 seconds here, by chance.
    assert latencies[int(0.95 * len(latencies))] < 0.8
    assert sum(len(names) for _, names, _ in running.started) / len(running.started) > 4


def test_waiting_costs_less_than_it_saves() -> None:
    policy = AdaptivePolicy(BatchConfig(max_batch_size=64), 1.0)
    running = Machine(policy, cost=lambda _: 0.010 + 0.001 * size)
    for size in (1, 4, 8, 2, 16) * 4:
        policy.cost.learn(size, running.cost(size))
    # Items every 4 ms: a fixed cost of 10 ms is worth waiting for the third, not for the fourth.
    policy._gap, policy._last = 0.004, -0.004
    for name in range(12):
        running.submit(Item(name))
        running.run_until(running.now + 0.004)
    assert running.started[0][1] == [0, 1, 2]
    cheap = AdaptivePolicy(BatchConfig(max_batch_size=64), 1.0)
    for size in (1, 4, 8, 2, 16) * 4:
        cheap.cost.learn(size, 0.001 * size)
    cheap._gap, cheap._last = 0.004, -0.004
    running = Machine(cheap, cost=lambda _: 0.001 * size)
    running.submit(Item(0))
    assert running.started == [(0.0, [0], "waited")], "without a fixed cost nothing waits"
