"""A process with one of everything that has nothing to do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vedette.bench.target import Target

WATCH = "vedette-pressur"
"""What Linux leaves of the name of the thread that watches memory."""

IDLE = """
import asyncio
import vedette as vd
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
        print("ready", flush=True)
        await asyncio.sleep(1e6)
asyncio.run(main())
"""

SETTLING_S = 0.5


class Rest(NamedTuple):
    """What a process used while it was left alone."""

    cpu_s: float
    wakeups: dict[str, int]
    """Of the threads besides the main one, by their names."""


def at_rest(code: str, length_s: float) -> Rest:
    """What Python code uses for ``length_s`` seconds after it printed "ready" (Linux only).

    It is read from outside: a process that wakes up to read its own clock pays for that, and on a
    virtual machine waking from a long sleep alone takes some milliseconds.
    """
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError("the process to be left alone did not come to be ready")
            time.sleep(SETTLING_S)
            before = _threads(process.pid)
            time.sleep(length_s)
            after = _threads(process.pid)
        finally:
            process.kill()
    used = 0.0
    wakeups: dict[str, int] = {}
    for number, (name, cpu_s, woken) in after.items():
        # A thread begun meanwhile counts whole.
        _, cpu_then, woken_then = before.get(number, (name, 0.0, 0))
        used += cpu_s - cpu_then
        if number != process.pid:
            wakeups[name] = wakeups.get(name, 0) + woken - woken_then
    return Rest(used, wakeups)


def _threads(pid: int) -> dict[int, tuple[str, float, int]]:
    """Name, CPU seconds and sleeps begun so far of each thread of a process."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        sleeps = (task / "status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0]
        cpu_ns = (task / "schedstat").read_text().split()[0]
        found[int(task.name)] = ((task / "comm").read_text().strip(), int(cpu_ns) / 1e9, int(sleeps))
    return found


def idle_process(length_s: float = 60.0) -> Iterator[Target]:
    """CPU of a process with one of everything and nothing to do, and how often its threads wake up."""
    if sys.platform != "linux":
        return
    rest = at_rest(IDLE, length_s)
    case = f"idle process with everything constructed, {length_s:g} s"
    yield Target(case, 100 * rest.cpu_s / length_s, "% CPU", 0.1, False)
    # The kernel tells of stalls; that a process nears a limit of its own has to be looked at.
    watch = rest.wakeups.pop(WATCH, 0)
    note = ", ".join(f"{name} {count}" for name, count in rest.wakeups.items() if count)
    yield Target("the same: wakeups of its threads", sum(rest.wakeups.values()), "", 0, False, note)
    yield Target("the same: wakeups of the watch over memory", watch / length_s, "/s", 1.0, False)
