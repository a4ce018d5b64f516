"""Batchers, maps, pipelines, budgets and idle processes beside what they must reach.

Where a peer does the same, both take turns as pairs; the least that must be reached is then the peer.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from vedette.bench.flow.arrivals import BATCH, network, under_load
from vedette.bench.flow.batchers import PEERS, installed
from vedette.bench.flow.idle import idle_process
from vedette.bench.flow.loads import CALLS, CLIENTS
from vedette.bench.flow.overhead import SIZE, batcher_overhead
from vedette.bench.flow.pipelines import pipeline_throughput, stalled_consumer
from vedette.bench.pairs import Record, Worker, compare
from vedette.bench.target import HEADER, Target

__all__ = ["HEADER", "run"]

side = partial(Worker, module="vedette.bench.worker")


def run(threads: list[int], pairs: int) -> Iterator[Target]:
    """Every target, the quick ones first; with as many threads as each case needs, whatever is asked."""
    del threads
    yield from batcher_overhead()
    yield from peers_without_work(pairs)
    yield from maps(pairs)
    yield from under_load()
    yield from peers_under_arrivals()
    yield pipeline_throughput()
    yield stalled_consumer()
    yield from idle_process()
    yield from budgets()


def _compare(case: str, ours: Worker, theirs: Worker, pairs: int, threads: int) -> Record:
    def same(ours: int, theirs: int) -> str:
        return "equal" if ours == theirs else f"DIFFERENT: {ours} / {theirs}"

    return compare("flow", case, ours, theirs, threads=threads, pairs=pairs, agree=same)


def _note(record: Record) -> str:
    ours, theirs = record.vedette_times.wall_median, record.peer_times.wall_median
    return f"{ours * 1e3:.1f} / {theirs * 1e3:.1f} ms, results {record.agreement}"


def peers_without_work(pairs: int) -> Iterator[Target]:
    """The same callers of batchers whose processor does nothing, of those that are installed."""
    for peer in filter(installed, PEERS):
        ours, theirs = side("no-op-vedette", size=SIZE), side(f"no-op-{peer}", size=SIZE)
        record = _compare(f"{CLIENTS * CALLS} items by {SIZE}", ours, theirs, pairs, 1)
        case = f"{record.case}, no-op: as fast as {peer}"
        yield Target(case, 1 / record.wall_ratio, "times", 1.0, True, _note(record), peer)


def maps(pairs: int) -> Iterator[Target]:
    """Maps on two threads, against ``concurrent.futures`` and against one thread."""
    for name, peer, case, least in (
        ("vedette-small", "concurrent.futures", "100,000 small tasks: as fast as futures", 5.0),
        ("vedette-native", "loop", "native work on 2 threads: as fast as 1", 1.9),
    ):
        record = _compare(case, side(name), side(peer), pairs, 2)
        yield Target(f"parallel_map, {case}", 1 / record.wall_ratio, "times", least, True, _note(record))


def peers_under_arrivals(rounds: int = 5, length_s: float = 4.0) -> Iterator[Target]:
    """A quantised network at 80 % load behind Vedette's batcher and each peer's, in turn."""
    peers = list(filter(installed, PEERS))
    if not peers:
        return
    rate = 0.8 * BATCH / network().direct_s()
    names = ["vedette", *peers]
    workers = {name: side(f"arrivals-{name}", rate=rate, length_s=length_s) for name in names}
    measured: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, worker in workers.items():
            measured[name].append(worker.result())
    for worker in workers.values():
        worker.finish()
    for peer in peers:
        ours, theirs = (np.array(measured[name]) for name in ("vedette", peer))
        case = f"INT8 network, arrivals of 80 %: p95, of that of {peer}"
        note = f"{np.median(ours):.0f} / {np.median(theirs):.0f} ms"
        yield Target(case, float(np.median(ours / theirs)), "", 1.0, False, note)


def budgets() -> Iterator[Target]:
    """How far off a budget the CPU of ten seconds is at worst, of each job alone and beside a rival."""
    # Not before: the module is a program too.
    from vedette.bench.flow import budget

    for kind in ("synthetic", "ocr"):
        for share in budget.SHARES:
            for compete in (False, True):
                yield budget.target(budget.undisturbed(kind, share, 16.0, compete=compete))
