"""Batchers, maps, pipelines, budgets and idle processes against what they must reach.

Where a peer does the same, both take turns as pairs; the rest are figures beside their targets.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import budget
from bench.flow_peers import CALLS, CLIENTS, installed, seconds
from vedette.bench.pairs import Record, Worker, compare

ROOT = Path(__file__).parent.parent
BATCH = 16


@dataclass(frozen=True)
class Target:
    """A figure and what it must reach."""

    case: str
    measured: float
    unit: str
    target: float
    at_least: bool
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether it does."""
        return self.measured >= self.target if self.at_least else self.measured <= self.target

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"group": "flow", "met": self.met}

    def line(self) -> str:
        """One row."""
        wanted = f"{'>=' if self.at_least else '<='} {self.target:g}"
        verdict = "reached" if self.met else "MISSED"
        return f"{self.case:52}{self.measured:12.4g} {self.unit:10}{wanted:>12}  {verdict}  {self.note}"


side = partial(Worker, module="bench.worker")


def pairs(count: int) -> Iterator[Record]:
    """Comparisons with peers, those that are installed."""

    def same(ours: int, theirs: int) -> str:
        return "equal" if ours == theirs else f"DIFFERENT: {ours} / {theirs}"

    for peer in ("batched", "bentoml"):
        if installed(peer):
            ours, theirs = (
                Worker("vedette-batcher", module="bench.worker", size=BATCH),
                Worker(peer, size=BATCH),
            )
            case = f"{CLIENTS * CALLS} items by {BATCH}, {peer}"
            yield compare("flow", case, ours, theirs, threads=1, pairs=count, agree=same)
    for ours_name, peer, case in (
        ("vedette-small", "concurrent.futures", "100,000 tasks, futures"),
        ("vedette-native", "loop", "native work on 2 threads / 1"),
    ):
        ours, theirs = side(ours_name), side(peer)
        yield compare("flow", case, ours, theirs, threads=2, pairs=count, agree=same)


def targets() -> Iterator[Target]:
    """Figures beside their targets, the quick ones first."""
    yield from batcher_overhead()
    yield from poisson()
    yield pipeline_throughput()
    yield stalled_consumer()
    yield idle_process()
    for kind in ("synthetic", "ocr"):
        for share in budget.SHARES:
            for compete in (False, True):
                record = budget.measure(kind, share, 25.0, compete=compete)
                off = max(1 - record["least"], record["most"] - 1)
                beside = ", beside a busy process" if compete else ""
                note = f"{record['least']:.0%} to {record['most']:.0%}"
                note += "; the machine gave no more" if record["starved"] else ""
                case = f"budget {share} %, {kind}{beside}: farthest off"
                yield Target(case, 100 * off, "%", 10, False, note)


def batcher_overhead() -> Iterator[Target]:
    """Items a second with a processor that does nothing, and what an item costs beyond direct batches."""
    from vedette.batching import BatchConfig, DynamicBatcher

    def process(items: list[int]) -> list[int]:
        return items

    items = CLIENTS * CALLS

    async def load() -> float:
        async with DynamicBatcher(BatchConfig(max_batch_size=BATCH), process) as batcher:

            async def client() -> None:
                for call in range(CALLS):
                    await batcher.submit(call)

            began = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(CLIENTS)))
            return time.perf_counter() - began

    took = min(asyncio.run(load()) for _ in range(5))
    yield Target("batcher, no-op processor, asyncio", items / took, "items/s", 50_000, True)
    batches = [list(range(BATCH))] * (items // BATCH)
    direct = seconds(lambda: [process(batch) for batch in batches])
    added = (took - direct) / items * 1e6
    yield Target(f"batcher, added an item at batch {BATCH}", added, "us", 30, False)


def _network() -> tuple[Callable[[Any], Any], Any]:
    """A quantised network of variable batch size, and one item."""
    import vedette as vd

    random = np.random.default_rng(0)
    samples = [random.normal(0, 1, (1, 3, 48, 192)).astype(np.float32) for _ in range(8)]
    path = vd.hub.file("ppocr-v6-small", "classifier")
    model = vd.quantize(vd.load(path, threads=1), samples)
    return model, samples[0][0]


def poisson() -> Iterator[Target]:
    """A quantised network behind an adaptive batcher: saturated, then under Poisson arrivals at 80 %."""
    from vedette.batching import AdaptiveBatcher, BatchConfig

    model, item = _network()
    stacked = np.repeat(item[None], BATCH, 0)
    for _ in range(5):
        model(stacked)
    direct_s = seconds(lambda: [model(stacked) for _ in range(20)]) / 20
    target_ms = 4e3 * direct_s

    def process(items: list[Any]) -> list[Any]:
        return list(model(np.stack(items)))

    async def saturated() -> float:
        config = BatchConfig(max_batch_size=BATCH, max_queue_size=10_000)
        async with AdaptiveBatcher(config, target_ms, process) as batcher:
            await asyncio.gather(*(batcher.submit(item) for _ in range(20 * BATCH)))
            began = time.perf_counter()
            await asyncio.gather(*(batcher.submit(item) for _ in range(40 * BATCH)))
            return (time.perf_counter() - began) / 40

    ratio = direct_s / asyncio.run(saturated())
    yield Target("adaptive batcher, INT8 network, of direct batches", ratio, "x", 0.95, True)

    async def at_load(rate: float, length_s: float) -> float:
        random = np.random.default_rng(1)
        latencies: list[float] = []
        config = BatchConfig(max_batch_size=BATCH, max_queue_size=10_000)
        async with AdaptiveBatcher(config, target_ms, process) as batcher:
            loop = asyncio.get_running_loop()
            began = due = loop.time()

            def submit(arrived: float) -> None:
                future = batcher.submit(item)
                future.add_done_callback(lambda _: latencies.append(loop.time() - arrived))

            while due < began + length_s:
                due += random.exponential(1 / rate)
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                submit(due)
        return float(np.quantile(latencies[len(latencies) // 5 :], 0.95)) * 1e3

    p95 = asyncio.run(at_load(0.8 * BATCH / direct_s, 8.0))
    note = f"target {target_ms:.1f} ms, four batches of {BATCH}"
    yield Target("adaptive batcher, 80 % load: p95 of its target", p95 / target_ms, "x", 1.0, False, note)


def pipeline_throughput() -> Target:
    """Three native stages, the middle one the slowest, against that one alone."""
    import vedette as vd
    from vedette.pipeline import Pipeline

    threads = vd.runtime.get_num_threads()
    vd.runtime.set_num_threads(1)
    try:
        frame = np.random.default_rng(0).integers(0, 255, (2160, 3840, 3), dtype=np.uint8)

        def gray(x: Any) -> Any:
            return vd.image.to_gray(x)

        def smaller(x: Any) -> Any:
            for _ in range(4):
                small = vd.image.resize(x, (1080, 1920), antialias=True)
            return small

        def binary(x: Any) -> Any:
            return vd.image.threshold(x, 128)

        count = 60
        gray_frame = gray(frame)
        alone = ((gray, frame), (smaller, gray_frame), (binary, smaller(gray_frame)))
        slowest = max(seconds(lambda s=stage, x=x: [s(x) for _ in range(count)]) for stage, x in alone)  # type: ignore[misc]
        with Pipeline(gray, smaller, binary) as pipeline:
            took = seconds(lambda: sum(1 for _ in pipeline.stream([frame] * count)))
    finally:
        vd.runtime.set_num_threads(threads)
    return Target("pipeline of three native stages, of the slowest's own", slowest / took, "x", 0.95, True)


def stalled_consumer() -> Target:
    """Growth of memory while a consumer takes nothing from an endless source of frames."""
    from vedette.pipeline import Pipeline
    from vedette.runtime.budget import resident_bytes

    def frames() -> Iterator[Any]:
        while True:
            yield np.ones((1080, 1920, 3), np.uint8)

    with Pipeline(lambda x: x, lambda x: x) as pipeline:
        stream = pipeline.stream(frames())
        for _ in range(50):
            next(stream)
        time.sleep(0.5)
        before = resident_bytes() or 0
        time.sleep(3)
        growth = ((resident_bytes() or 0) - before) / 1e6
    return Target("pipeline, consumer stalled for 3 s: memory grows by", growth, "MB", 1.0, False)


IDLE = """
import asyncio, time, numpy as np, vedette as vd
from vedette.batching import BatchConfig, DynamicBatcher
runtime = vd.runtime.Runtime(); runtime.map(abs, range(100))
budget = vd.runtime.Budget("25%", memory="4GB")
with budget.slice(): pass
pipeline = vd.pipeline.Pipeline(abs, vd.pipeline.Stage(abs, workers=2)); pipeline.execute(1)
batcher = DynamicBatcher(BatchConfig(max_wait_ms=5), list).start_threads(); batcher.submit(1).result()
endpoint = vd.metrics.serve()
async def main():
    async with DynamicBatcher(BatchConfig(max_wait_ms=5), list) as batcher:
        await batcher.submit(1)
        await asyncio.sleep(0.5)
        before = time.process_time()
        await asyncio.sleep({seconds})
        return time.process_time() - before
print(asyncio.run(main()))
"""


def idle_process(length_s: float = 60.0) -> Target:
    """CPU of a process with one of everything, and nothing to do."""
    code = IDLE.replace("{seconds}", str(length_s))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    share = 100 * float(done.stdout) / length_s
    return Target(f"idle process with everything constructed, {length_s:g} s", share, "% CPU", 0.1, False)


def main() -> None:
    """Print the targets alone: ``python -m bench.flow [--json FILE]``."""
    measured = []
    for target in targets():
        measured.append(target.to_dict())
        print(target.line(), flush=True)
    if "--json" in sys.argv:
        Path(sys.argv[sys.argv.index("--json") + 1]).write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
