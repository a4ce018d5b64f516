"""A process with one of everything that has nothing to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from vedette.bench.target import Target

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
        # Looking costs some ms, which are not the idle process's.
        then, before = wakeups(), time.process_time()
        await asyncio.sleep({seconds})
        used, now = time.process_time() - before, wakeups()
        woken = {name: now[name] - then.get(name, 0) for name in now}
        return {"cpu_s": used, "wakeups": woken}
print(json.dumps(asyncio.run(main())))
"""


def idle_process(length_s: float = 60.0) -> Iterator[Target]:
    """CPU of a process with one of everything and nothing to do, and how often its threads wake up."""
    code = IDLE.replace("{seconds}", str(length_s))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
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
