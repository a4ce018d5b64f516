"""One side of a comparison, in a process of its own: ``python -m vedette.bench.worker SIDE SETTINGS``.

Answers each line on stdin (``turn``, ``result``, ``finish``) with a line of JSON on stdout.
"""

from __future__ import annotations

import gc
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Side = tuple[Callable[[], Any], Callable[[], Any]]
"""What a side gives: the call to time, and what it computes in a form that JSON can carry."""

# Long enough for many calls of something small, and to see whether threads still spin.
TURN_S = 0.1
REST_S = 0.02


def turn(call: Callable[[], Any]) -> dict[str, float]:
    """Seconds of a call: one where it is long, else the mean of as many as fill a turn.

    A short first call is not counted: it finds the caches as the other side left them. A turn ends when the
    process has come to rest: threads that spin after their work would take a core from the other side.
    """
    times = _mean_of(call, 0.0)
    if times["wall"] < TURN_S:
        times = _mean_of(call, TURN_S)
    busy = 1.0
    while busy > 0.1:
        before = time.process_time()
        time.sleep(REST_S)
        busy = (time.process_time() - before) / REST_S
    return times


def _mean_of(call: Callable[[], Any], seconds: float) -> dict[str, float]:
    wall, cpu, calls = time.perf_counter(), time.process_time(), 0
    while calls == 0 or time.perf_counter() - wall < seconds:
        call()
        calls += 1
    return {"wall": (time.perf_counter() - wall) / calls, "cpu": (time.process_time() - cpu) / calls}


def peak_mb() -> float:
    """The most memory this process had resident; not a number on Windows.

    On Linux ``ru_maxrss`` starts from what the parent had when it forked; the kernel's own mark does not.
    """
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    if sys.platform == "win32":
        return math.nan
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def serve(sides: Mapping[str, Callable[..., Side]], side: str, settings: dict[str, Any]) -> None:
    """Make the side ready, then answer."""
    answers, sys.stdout = sys.stdout, sys.stderr
    call, result = sides[side](**settings)
    gc.disable()
    print(json.dumps({"ready": side}), file=answers, flush=True)
    for line in sys.stdin:
        answer: dict[str, Any]
        match line.strip():
            case "turn":
                answer = turn(call)
            case "result":
                answer = {"result": result()}
            case _:
                answer = {"peak_mb": peak_mb()}
        print(json.dumps(answer), file=answers, flush=True)
        if "peak_mb" in answer:
            return


if __name__ == "__main__":
    from vedette.bench import memory, tensor
    from vedette.bench.flow import sides

    serve({**memory.SIDES, **tensor.SIDES, **sides.SIDES}, sys.argv[1], json.loads(sys.argv[2]))
