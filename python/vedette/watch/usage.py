"""How processor time and memory went over the last while."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from vedette.runtime.resident import resident_bytes
from vedette.watch.health import StageClock

__all__ = ["Usage"]

_WINDOW_S = 10.0
_MEMORY_EVERY_S = 10.0
_WARM_S = 60.0


class Usage:
    """Shares of a core by stage over the last ten seconds, and how memory went since the watch was warm."""

    def __init__(self, clock: StageClock) -> None:
        self._clock = clock
        self._began = time.monotonic()
        self._stages: deque[tuple[float, dict[str, float]]] = deque([(self._began, clock.by_stage())])
        self._memory: deque[tuple[float, int]] = deque(maxlen=1000)
        self._most_share = 0.0

    def sample(self) -> None:
        """Look; called about once a second."""
        now = time.monotonic()
        self._stages.append((now, self._clock.by_stage()))
        while len(self._stages) > 2 and now - self._stages[1][0] >= _WINDOW_S:
            self._stages.popleft()
        if now - self._stages[0][0] >= _WINDOW_S:
            self._most_share = max(self._most_share, self._shares().get("total", 0.0))
        if not self._memory or now - self._memory[-1][0] >= _MEMORY_EVERY_S:
            held = resident_bytes()
            if held is not None:
                self._memory.append((now, held))

    def _shares(self) -> dict[str, float]:
        (before, first), (after, last) = self._stages[0], self._stages[-1]
        if after - before < 0.5:
            return {}
        return {stage: (last[stage] - first[stage]) / (after - before) for stage in last}

    @property
    def cores(self) -> float:
        """Cores used over the last ten seconds."""
        return self._shares().get("total", 0.0)

    def to_dict(self) -> dict[str, Any]:
        """As plain values: shares of one core, bytes, and bytes an hour."""
        shares = {stage: round(share, 5) for stage, share in self._shares().items()}
        return {
            "cpu_share": shares,
            "most_cpu_share": round(self._most_share, 5),
            "memory_bytes": resident_bytes(),
            "memory_growth_per_hour": self._growth(),
        }

    def _growth(self) -> int | None:
        """Slope of the memory held since the watch was warm, by least squares."""
        points = [(at, held) for at, held in self._memory if at - self._began >= _WARM_S]
        if len(points) < 6:
            return None
        times = [at - points[0][0] for at, _ in points]
        held = [float(value) for _, value in points]
        middle, level = sum(times) / len(times), sum(held) / len(held)
        spread = sum((at - middle) ** 2 for at in times)
        slope = sum((at - middle) * (value - level) for at, value in zip(times, held, strict=True)) / spread
        return int(3600 * slope)
