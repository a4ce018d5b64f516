"""Batchers, maps, pipelines, budgets and idle processes against what they must reach.

Where a peer does the same, both take turns as pairs; the rest are figures beside their targets.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import budget
from bench.flow_arrivals import BATCH, WARM_UP, Arrivals, arrive, network
from bench.flow_batchers import PEERS, installed
from bench.flow_peers import CALLS, CLIENTS, seconds
from vedette.bench.pairs import Record, Worker, compare

ROOT = Path(__file__).parent.parent
METRICS = ROOT / "metrics"
SIZE = 16


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


def pairs(count: int) -> Iterator[Record | Target]:
    """Comparisons with peers, those that are installed, and what some of them must reach."""

    def same(ours: int, theirs: int) -> str:
        return "equal" if ours == theirs else f"DIFFERENT: {ours} / {theirs}"

    for peer in filter(installed, PEERS):
        ours, theirs = side("no-op-vedette", size=SIZE), side(f"no-op-{peer}", size=SIZE)
        case = f"{CLIENTS * CALLS} items by {SIZE}, {peer}"
        yield compare("flow", case, ours, theirs, threads=1, pairs=count, agree=same)
    for ours_name, peer, case, least in (
        ("vedette-small", "concurrent.futures", "100,000 tasks, futures", 5.0),
        ("vedette-native", "loop", "native work on 2 threads / 1", 1.9),
    ):
        ours, theirs = side(ours_name), side(peer)
        record = compare("flow", case, ours, theirs, threads=2, pairs=count, agree=same)
        yield record
        yield Target(f"parallel_map, {case}: times as fast", 1 / record.wall_ratio, "x", least, True)


def targets() -> Iterator[Target]:
    """Figures beside their targets, the quick ones first."""
    yield from batcher_overhead()
    yield from arrivals()
    yield from peers_under_arrivals()
    yield pipeline_throughput()
    yield stalled_consumer()
    yield from idle_process()
    yield from budgets()


def budgets() -> Iterator[Target]:
    """How far off a budget the CPU of ten seconds is at worst; metrics/budget.svg shows all windows."""
    records = []
    for kind in ("synthetic", "ocr"):
        for share in budget.SHARES:
            for compete in (False, True):
                record = budget.undisturbed(kind, share, 16.0, compete=compete)
                records.append(record)
                off = max(1 - record["least"], record["most"] - 1)
                beside = ", beside a busy process" if compete else ""
                note = f"{record['least']:.0%} to {record['most']:.0%}{budget.note(record)}"
                case = f"budget {share} %, {kind}{beside}: farthest off"
                yield Target(case, 100 * off, "%", 10, False, note)
    METRICS.mkdir(exist_ok=True)
    budget.plot(records, METRICS / "budget.svg")


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and those it starts, to one core where the system lets threads choose (Linux)."""
    if sys.platform != "linux":
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def batcher_overhead() -> Iterator[Target]:
    """Items a second with a processor that does nothing, and what an item costs beyond direct batches."""
    from vedette.batching import BatchConfig, DynamicBatcher

    def process(items: list[int]) -> list[int]:
        return items

    items = CLIENTS * CALLS

    async def load() -> float:
        async with DynamicBatcher(BatchConfig(max_batch_size=SIZE), process) as batcher:

            async def client() -> None:
                for call in range(CALLS):
                    await batcher.submit(call)

            began = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(CLIENTS)))
            return time.perf_counter() - began

    with one_core():
        took = min(asyncio.run(load()) for _ in range(5))
    yield Target("batcher, no-op processor, asyncio, one core", items / took, "items/s", 50_000, True)
    batches = [list(range(SIZE))] * (items // SIZE)
    direct = seconds(lambda: [process(batch) for batch in batches])
    added = (took - direct) / items * 1e6
    yield Target(f"batcher, added an item at batch {SIZE}", added, "us", 30, False)


def arrivals() -> Iterator[Target]:
    """A quantised network behind an adaptive batcher, under Poisson arrivals."""
    from vedette.batching import AdaptiveBatcher, BatchConfig

    process = network()
    direct_s = process.direct_s()
    target_ms = 4e3 * direct_s
    note = f"target {target_ms:.1f} ms, four batches of {BATCH}"

    def run(load: float, length_s: float, tick: Callable[[], object] | None = None) -> Arrivals:
        async def main() -> Arrivals:
            config = BatchConfig(max_batch_size=BATCH, max_queue_size=100_000)
            async with AdaptiveBatcher(config, target_ms, process) as batcher:
                return await arrive(batcher.submit, process.item, load * BATCH / direct_s, length_s, tick)

        return asyncio.run(main())

    saturated = run(1.2, 5.0).rate()
    # Before and after: what else runs on the machine comes and goes.
    ratio = saturated * (direct_s + process.direct_s()) / 2 / BATCH
    yield Target("adaptive batcher, arrivals of 120 %: of direct batches", ratio, "x", 0.95, True)
    p95 = run(0.8, 8.0).p95_s(WARM_UP * 8.0) * 1e3
    yield Target("adaptive batcher, 80 % load: p95 of its target", p95 / target_ms, "x", 1.0, False, note)

    length_s = 10.0
    doubled: list[int] = []
    back: list[float] = []

    def double() -> None:
        now = time.monotonic() - began
        if not doubled and now >= length_s / 2:
            process.times = 2
            doubled.append(process.batches)
        if doubled and not back and process.batches >= doubled[0] + 50:
            back.append(now)

    began = time.monotonic()
    seen = run(0.4, length_s, double)
    p95 = seen.p95_s(back[0]) * 1e3
    case = "the same at 40 %, cost doubled, 50 batches later: p95"
    yield Target(case, p95 / target_ms, "x", 1.1, False, note)


def peers_under_arrivals(rounds: int = 3, length_s: float = 4.0) -> Iterator[Target]:
    """The same network at 80 % load behind Vedette's batcher and each peer that is installed, in turn."""
    rate = 0.8 * BATCH / network().direct_s()
    names = ["vedette", *filter(installed, PEERS)]
    workers = {name: side(f"arrivals-{name}", rate=rate, length_s=length_s) for name in names}
    measured: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, worker in workers.items():
            measured[name].append(worker.result())
    for worker in workers.values():
        worker.finish()
    ours = float(np.median(measured["vedette"]))
    for peer in names[1:]:
        theirs = float(np.median(measured[peer]))
        case = f"dynamic batcher, 80 % load: p95 of that of {peer}"
        yield Target(case, ours / theirs, "x", 1.0, False, f"{ours:.1f} / {theirs:.1f} ms")


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
    from vedette.runtime.resident import resident_bytes

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


WATCH = "vedette-pressur"
"""What Linux leaves of the name of the thread that watches memory."""

IDLE = """
import asyncio, json, os, threading, time
from pathlib import Path
import vedette as vd
from vedette.batching import BatchConfig, DynamicBatcher
runtime = vd.runtime.Runtime(); runtime.map(abs, range(100))
budget = vd.runtime.Budget("25%", memory="4GB")
with budget.slice(): pass
pipeline = vd.pipeline.Pipeline(abs, vd.pipeline.Stage(abs, workers=2)); pipeline.execute(1)
batcher = DynamicBatcher(BatchConfig(max_wait_ms=5), list).start_threads(); batcher.submit(1).result()
endpoint = vd.metrics.serve()
def wakeups():
    # By the name of the thread; one that never slept since the last look has not woken up either.
    found = {}
    for task in Path("/proc/self/task").glob("[0-9]*"):
        if int(task.name) != threading.main_thread().native_id:
            name, text = (task / "comm").read_text().strip(), (task / "status").read_text()
            count = int(text.split("\\nvoluntary_ctxt_switches:")[1].split()[0])
            found[name] = found.get(name, 0) + count
    return found
async def main():
    async with DynamicBatcher(BatchConfig(max_wait_ms=5), list) as batcher:
        await batcher.submit(1)
        await asyncio.sleep(0.5)
        before, then = time.process_time(), wakeups()
        await asyncio.sleep({seconds})
        now = wakeups()
        woken = {name: now[name] - then.get(name, 0) for name in now}
        return {"cpu_s": time.process_time() - before, "wakeups": woken}
print(json.dumps(asyncio.run(main())))
"""


def idle_process(length_s: float = 60.0) -> Iterator[Target]:
    """CPU of a process with one of everything and nothing to do, and how often its threads wake up."""
    code = IDLE.replace("{seconds}", str(length_s))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    measured = json.loads(done.stdout)
    case = f"idle process with everything constructed, {length_s:g} s"
    yield Target(case, 100 * measured["cpu_s"] / length_s, "% CPU", 0.1, False)
    if sys.platform == "linux":
        woken: dict[str, int] = measured["wakeups"]
        # The kernel tells of stalls; that a process nears a limit of its own has to be looked at.
        watch = woken.pop(WATCH, 0)
        note = ", ".join(f"{name} {count}" for name, count in woken.items() if count)
        yield Target("the same: wakeups of its threads", sum(woken.values()), "", 0, False, note)
        yield Target("the same: wakeups of the watch over memory", watch / length_s, "/s", 1.0, False)


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
