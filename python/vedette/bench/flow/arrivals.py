"""A quantised network behind batchers, under items that arrive as they like (Poisson)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vedette.bench.flow.batchers import BATCHERS, Submit
from vedette.bench.target import Target, middle

BATCH = 8
WARM_UP = 0.2
"""Share of a run that is not judged."""


@dataclass
class Network:
    """A quantised network of variable batch size, one item for it, and what a full batch costs."""

    model: Any
    item: Any
    times: int = 1
    """How often the model runs on each batch: what it costs can double."""
    spans: list[tuple[float, float, int]] = field(default_factory=list)
    """When each batch began and ended, and its size."""

    def __call__(self, items: list[Any]) -> list[Any]:
        """Process a batch."""
        began = time.perf_counter()
        stacked = np.stack(items)
        for _ in range(self.times):
            results = self.model(stacked)
        # Scores of all characters are 3 MB an item, and callers would hold them; whoever reads keeps the
        # best of each step.
        best = list(results.argmax(axis=-1))
        self.spans.append((began, time.perf_counter(), len(items)))
        return best

    def lost(self) -> float:
        """The part of the time between the first full batch and the last in which none ran."""
        full = [number for number, (_, _, size) in enumerate(self.spans) if size == BATCH]
        spans = self.spans[full[0] : full[-1] + 1]
        return 1 - sum(end - began for began, end, _ in spans) / (spans[-1][1] - spans[0][0])

    def direct_s(self, count: int = 20) -> float:
        """Seconds of a full batch that nobody waits for: the mean of some."""
        self([self.item] * BATCH)
        began = time.perf_counter()
        for _ in range(count):
            self([self.item] * BATCH)
        return (time.perf_counter() - began) / count


def network() -> Network:
    """The recogniser of text lines as its recipe quantises it, and a line."""
    import vedette as vd

    path = vd.hub.file("ppocr-v6-small", "recogniser")
    line = np.random.default_rng(0).normal(0, 1, (3, 48, 320)).astype(np.float32)
    # One thread: the event loop has the other core, as it has where networks serve.
    made = Network(vd.load(path, threads=1, precision="auto"), line)
    # Each size is planned once, which a service does before its first caller comes.
    for size in range(1, BATCH + 1):
        made([line] * size)
    return made


@dataclass
class Arrivals:
    """What became of items: when each was due, and when its result came."""

    due: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)

    def p95_s(self, after: float = 0.0) -> float:
        """Latency that nineteen of twenty items stay below, of those due after a time."""
        late = [done - due for due, done in zip(self.due, self.done, strict=True) if due >= after]
        return float(np.quantile(late, 0.95))

    def rate(self) -> float:
        """Results a second."""
        ends = np.sort(self.done)
        ends = ends[int(WARM_UP * len(ends)) :]
        return float((len(ends) - 1) / (ends[-1] - ends[0]))


async def arrive(
    submit: Submit,
    item: Any,
    rate: float,
    length_s: float,
    tick: Callable[[], object] | None = None,
    queued: int = 0,
) -> Arrivals:
    """Submit items at a mean rate with exponential gaps, and some at once at first; latency counts from when
    an item was due.
    """
    random = np.random.default_rng(1)
    loop = asyncio.get_running_loop()
    seen = Arrivals()
    pending: set[asyncio.Future[Any]] = set()

    def submit_one(due: float) -> None:
        future = asyncio.ensure_future(submit(item))
        pending.add(future)

        def finished(ended: asyncio.Future[Any]) -> None:
            pending.discard(ended)
            ended.result()
            seen.due.append(due)
            seen.done.append(loop.time())

        future.add_done_callback(finished)

    began = due = loop.time()
    for _ in range(queued):
        submit_one(due)
    while (due := due + random.exponential(1 / rate)) < began + length_s:
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        elif len(pending) % 32 == 0:
            # Arrivals that are late already must not keep results from being delivered.
            await asyncio.sleep(0)
        submit_one(due)
        if tick is not None:
            tick()
    while pending:
        await asyncio.wait(pending)
    seen.due = [at - began for at in seen.due]
    seen.done = [at - began for at in seen.done]
    return seen


def under_arrivals(batcher: str, rate: float, length_s: float) -> Any:
    """A batcher's side: the network under so many items a second; the result is the 95th percentile."""
    process = network()
    process.direct_s()

    async def main() -> Arrivals:
        async with BATCHERS[batcher](process, BATCH) as submit:
            return await arrive(submit, process.item, rate, length_s)

    def p95_ms() -> float:
        return 1e3 * asyncio.run(main()).p95_s(WARM_UP * length_s)

    return p95_ms, p95_ms


ROUNDS, TRIES = 5, 3
"""Turns of direct batches and of arrivals, in as many pairs."""


def under_load() -> Iterator[Target]:
    """A quantised network behind an adaptive batcher, under Poisson arrivals."""
    process = network()
    shares, lost = [], []
    for _ in range(ROUNDS):
        share, between = share_of_direct(process)
        shares.append(share)
        lost.append(100 * between)
    measured, all_of_them = middle(shares)
    case = "INT8 network, arrivals of 120 %: of direct batches"
    yield Target(case, measured, "", 0.95, True, f"runs of 3 s: {all_of_them}")
    case, all_of_them = "the same: time lost between batches, most", middle(lost)[1]
    yield Target(case, max(lost), "%", 5.0, False, f"runs of 3 s: {all_of_them}")
    yield undisturbed(process, "the same, arrivals of 80 %: p95 of its target", 1.0, latency)
    yield undisturbed(process, "the same, 40 %, cost doubled, 50 batches on: p95", 1.1, doubled)


def undisturbed(
    process: Network, case: str, most: float, measure: Callable[[Network, float], float]
) -> Target:
    """A latency of a run during which the machine did not become slower, of a few tries.

    Arrivals are set by what batches cost before: on a machine that then gives less they are too many.
    """
    for _ in range(TRIES):
        before_s = process.direct_s(10)
        p95_ms = measure(process, before_s)
        slower = process.direct_s(10) / before_s
        if slower < 1.1:
            break
    note = f"target {4e3 * before_s:.0f} ms, four batches of {BATCH}"
    if slower >= 1.1:
        note += f"; the machine became {slower:.1f} times as slow meanwhile"
    return Target(case, p95_ms / (4e3 * before_s), "", most, False, note)


def share_of_direct(process: Network) -> tuple[float, float]:
    """Items a second at saturation over those of full batches just before and just after, and the part of the
    time in which no batch ran.

    What else runs on a machine takes a part of either; over a few seconds it takes about the same of both.
    """
    before_s = process.direct_s(10)
    process.spans.clear()
    rate = run(process, before_s, 1.2, 3.0, queued=2 * BATCH).rate()
    lost = process.lost()
    return rate * (before_s + process.direct_s(10)) / 2 / BATCH, lost


def run(
    process: Network,
    direct_s: float,
    load: float,
    length_s: float,
    tick: Callable[[], object] | None = None,
    queued: int = 0,
) -> Arrivals:
    """Arrivals at a share of what full batches give, behind a batcher whose target is four of those."""
    from vedette.batching import AdaptiveBatcher, BatchConfig

    async def main() -> Arrivals:
        config = BatchConfig(max_batch_size=BATCH, max_queue_size=100_000)
        async with AdaptiveBatcher(config, 4e3 * direct_s, process) as batcher:
            rate = load * BATCH / direct_s
            return await arrive(batcher.submit, process.item, rate, length_s, tick, queued)

    return asyncio.run(main())


def latency(process: Network, direct_s: float) -> float:
    """The 95th percentile at 80 % load, in milliseconds."""
    length_s = 8.0
    return 1e3 * run(process, direct_s, 0.8, length_s).p95_s(WARM_UP * length_s)


def doubled(process: Network, direct_s: float) -> float:
    """The same at 40 %, from fifty batches on after the cost has doubled in the middle of a run."""
    length_s = 10.0
    at: list[int] = []
    back: list[float] = []

    def double() -> None:
        now = time.monotonic() - began
        if not at and now >= length_s / 2:
            process.times = 2
            at.append(len(process.spans))
        if at and not back and len(process.spans) >= at[0] + 50:
            back.append(now)

    began = time.monotonic()
    seen = run(process, direct_s, 0.4, length_s, double)
    process.times = 1
    # A run on a busy machine may end before there were fifty.
    after = back[0] if back else 0.9 * length_s
    return 1e3 * seen.p95_s(after)
