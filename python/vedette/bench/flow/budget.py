"""CPU over every ten seconds against a budget: ``python -m vedette.bench.flow.budget`` draws it alone.

Each job runs in a process of its own, samples its CPU clock twice a second, and is judged after a start of
two seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vedette.bench.target import HEADER, Target

WINDOW_S = 10.0
SETTLE_S = 2.0
STEP_S = 0.5
SHARES = (5, 25, 60)
QUIET_CORES = 0.1
"""What other programs may use of the machine and leave it quiet."""
TRIES = 3


def workers() -> int:
    """Threads of a job, twice as many as cores.

    Systems share cores among threads, and while a rival holds one of two cores, two threads may be left to
    share the other.
    """
    from vedette.runtime import effective_cores

    return 2 * effective_cores()


def python() -> Callable[[], object]:
    """Work in Python, in slices of a few milliseconds; all threads together use one core at most."""

    def work() -> None:
        end = time.thread_time() + 0.003
        while time.thread_time() < end:
            pass

    return work


def synthetic() -> Callable[[], object]:
    """Native work on every core: a 4K frame made smaller, over and over."""
    import numpy as np

    import vedette as vd

    vd.runtime.set_num_threads(1)
    frame = np.random.default_rng(0).integers(0, 255, (2160, 3840, 3), dtype=np.uint8)
    return lambda: vd.image.resize(frame, (480, 640), antialias=True)


def ocr() -> Callable[[], object]:
    """Reading a part of a drawn page, which takes many times what a slice should."""
    import vedette as vd
    from vedette.bench.recording import draw, windows

    reader = vd.ocr.Reader(threads=1)
    image = draw(windows(1)[0], "10:00")[0][:540, :960].copy()
    # The first readings plan and pack weights, those that run at the same time each their own: a debt that
    # would be paid during the first windows.
    started = threading.Barrier(workers())

    def first() -> None:
        started.wait()
        for _ in range(2):
            reader.read(image)

    threads = [threading.Thread(target=first) for _ in range(workers())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return lambda: reader.read(image)


JOBS: dict[str, Callable[[], Callable[[], object]]] = {"python": python, "synthetic": synthetic, "ocr": ocr}


def job(kind: str, share: float, seconds: float) -> None:
    """Work without pause within a budget; print the samples of both clocks."""
    import vedette as vd

    work = JOBS[kind]()
    budget = vd.runtime.Budget(f"{share}%")
    end = time.monotonic() + seconds

    def run() -> None:
        while time.monotonic() < end:
            with budget.slice():
                work()

    samples = [(time.monotonic(), time.process_time())]
    threads = [threading.Thread(target=run, daemon=True) for _ in range(workers())]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        time.sleep(STEP_S)
        samples.append((time.monotonic(), time.process_time()))
    stats = budget.stats()
    held_s = stats.waited_s + stats.paused_s
    facts = {"cores": vd.runtime.effective_cores(), "samples": samples, "held_s": held_s}
    print(json.dumps(facts), flush=True)
    # Slices that have begun are of no more interest.
    os._exit(0)


def measure(kind: str, share: float, seconds: float, *, compete: bool) -> dict[str, Any]:
    """Run a job; what it used in each window, as a share of its budget."""
    rivals = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(1 if compete else 0)
    ]
    began, busy, ours = time.monotonic(), machine_busy_s(), children_s()
    try:
        command = [sys.executable, "-m", __spec__.name, "--job", kind, "--share", str(share)]
        done = subprocess.run(
            [*command, "--seconds", str(seconds)], capture_output=True, text=True, check=True
        )
    finally:
        for rival in rivals:
            rival.kill()
            rival.wait()
    others = (machine_busy_s() - busy - (children_s() - ours)) / (time.monotonic() - began)
    answer = json.loads(done.stdout.splitlines()[-1])
    allowed = share / 100 * answer["cores"]
    samples = [(wall - answer["samples"][0][0], cpu) for wall, cpu in answer["samples"]]
    windows = list(windows_of([sample for sample in samples if sample[0] >= SETTLE_S]))
    used = [cores / allowed for _, cores in windows]
    return {
        "job": kind,
        "share": share,
        "compete": compete,
        "allowed_cores": allowed,
        "windows": windows,
        "least": min(used),
        "most": max(used),
        "others_cores": others,
        # A process that never waits for its budget gets less than that from the machine.
        "starved": answer["held_s"] < 0.01 * seconds,
    }


def windows_of(samples: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The end of every ten seconds between two samples of both clocks, and the cores used meanwhile."""
    start = 0
    for end, used in samples:
        # Samples may be late where every core is busy.
        while end - samples[start + 1 if start + 1 < len(samples) else start][0] >= WINDOW_S:
            start += 1
        began, before = samples[start]
        if end - began >= WINDOW_S - 0.5 * STEP_S:
            yield end, (used - before) / (end - began)


def undisturbed(kind: str, share: float, seconds: float, *, compete: bool) -> dict[str, Any]:
    """The same, measured anew where the machine gave no more because other programs used it."""
    for _ in range(TRIES):
        record = measure(kind, share, seconds, compete=compete)
        if not (record["starved"] and record["others_cores"] > QUIET_CORES):
            break
    return record


def machine_busy_s() -> float:
    """CPU seconds of all cores since boot, where the system says so (Linux); 0 elsewhere."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, fields)
    return (user + nice + system + irq + softirq) / float(os.sysconf("SC_CLK_TCK"))


def children_s() -> float:
    """CPU seconds of the processes this one has waited for."""
    times = os.times()
    return times.children_user + times.children_system


def target(record: dict[str, Any]) -> Target:
    """How far off its budget a run was at worst."""
    off = max(1 - record["least"], record["most"] - 1)
    beside = ", beside a rival" if record["compete"] else ""
    said = f"{record['least']:.0%} to {record['most']:.0%} of it{note(record)}"
    case = f"budget {record['share']:g} %, {record['job']}{beside}: off in 10 s"
    return Target(case, 100 * off, "%", 10, False, said, more=record)


def main() -> None:
    """Measure every share with every job, alone and beside a busy process; draw and tell."""
    parser = argparse.ArgumentParser(prog="vedette.bench.flow.budget", description=__doc__)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=["synthetic", "ocr"])
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES))
    parser.add_argument("--plot", type=Path, default=Path("budget.svg"))
    chosen = parser.parse_args()
    if chosen.job:
        job(chosen.job, chosen.share, chosen.seconds)
        return
    try:
        from vedette.bench.charts import draw_budgets
    except ModuleNotFoundError:
        parser.exit(1, "budget: the plot needs matplotlib: pip install matplotlib\n")

    print(HEADER)
    records = []
    for kind in chosen.jobs:
        for share in chosen.shares:
            for compete in (False, True):
                record = undisturbed(kind, share, chosen.seconds, compete=compete)
                records.append(record)
                print(target(record).line(), flush=True)
                # What there is so far: a long run may be broken off.
                draw_budgets(records, chosen.plot)


def note(record: dict[str, Any]) -> str:
    """What else there is to know: who else used the machine, and whether it had no more to give."""
    others = (
        f"; others used {record['others_cores']:.2f} cores" if record["others_cores"] > QUIET_CORES else ""
    )
    return others + ("; the machine gave no more" if record["starved"] else "")


if __name__ == "__main__":
    main()
