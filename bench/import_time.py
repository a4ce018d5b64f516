"""What importing Vedette costs beyond NumPy's own import."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

# The parts of Vedette are imported when they are first used, so its name alone costs little.
CASES = ("import vedette", "import vedette.ocr, vedette.model")


def run(runs: int = 15) -> Iterator[dict[str, Any]]:
    """Milliseconds of NumPy alone and with Vedette, in turn: the median difference of a pair."""
    for case in CASES:
        pairs = [(_run("import numpy"), _run(f"import numpy; {case}")) for _ in range(runs + 1)][1:]
        yield {
            "group": "import",
            "case": case,
            "runs": runs,
            "numpy_wall_ms": statistics.median(alone[0] for alone, _ in pairs),
            "extra_wall_ms": statistics.median(both[0] - alone[0] for alone, both in pairs),
            "extra_cpu_ms": statistics.median(both[1] - alone[1] for alone, both in pairs),
        }


def _run(code: str) -> tuple[float, float]:
    """Wall and CPU milliseconds of a fresh Python that runs this and ends."""
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1e3, cpu * 1e3
