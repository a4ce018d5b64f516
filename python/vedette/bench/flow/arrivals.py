"""A quantised network behind batchers, under items that arrive as they like (Poisson)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.flow_batchers import BATCHERS, Submit

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
    batches: int = 0

    def __call__(self, items: list[Any]) -> list[Any]:
        """Process a batch."""
        self.batches += 1
        stacked = np.stack(items)
        for _ in range(self.times):
            results = self.model(stacked)
        # Scores of all characters are 3 MB an item, and callers would hold them; whoever reads keeps the
        # best of each step.
        return list(results.argmax(axis=-1))

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
    submit: Submit, item: Any, rate: float, length_s: float, tick: Callable[[], object] | None = None
) -> Arrivals:
    """Submit items at a mean rate with exponential gaps; latency counts from when an item was due."""
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
