"""How much of its budget a process takes while others want the CPU too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

HIGH = 0.2
"""Share of time in which some thread waits for a core, from which on others are being held up."""

LOW = 0.1
"""The same below which nobody is. Between the two nothing changes, so that the target does not flutter."""

CALM_STEPS = 3
"""Steps of calm in a row before the target grows."""


class TargetPolicy:
    """Moves a target within bounds: down fast while others wait, up slowly once they do not.

    It has no clock: each ``step`` stands for a second.
    """

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum = minimum
        self.maximum = maximum
        self.target = maximum
        self._calm = 0

    def step(self, pressure: float, *, wanted: bool) -> float:
        """The target after a second with this share of waiting; it only grows where more is ``wanted``."""
        span = self.maximum - self.minimum
        if pressure >= HIGH:
            self._calm = 0
            self.target = max(self.minimum, self.target - span / 5)
        elif pressure <= LOW:
            self._calm += 1
            if wanted and self._calm >= CALM_STEPS:
                self.target = min(self.maximum, self.target + span / 20)
        else:
            self._calm = 0
        return self.target


def stalled_seconds(root: Path = Path("/")) -> float | None:
    """Seconds since boot in which some task waited for a core, where the kernel says so (Linux PSI)."""
    try:
        text = (root / "proc/pressure/cpu").read_text(encoding="ascii")
        _, _, total = text.partition("\n")[0].rpartition("total=")
        return int(total) / 1e6
    except (OSError, ValueError):
        return None


class CpuPressure:
    """The share of time in which some thread waits for a core.

    Where the system does not say it, how late this process wakes from its own sleeps stands for it.
    """

    def __init__(self, stalled: Callable[[], float | None] = stalled_seconds) -> None:
        self._stalled = stalled
        self._last: tuple[float, float] | None = None
        self._lateness = 0.0

    def overslept(self, asked_s: float, actual_s: float) -> None:
        """Take note of a sleep."""
        # A millisecond is what timers may be late by themselves.
        late = max(0.0, actual_s - asked_s - 0.001) / max(actual_s, 1e-6)
        self._lateness += 0.3 * (late - self._lateness)

    def read(self, now: float) -> float:
        """The share since the last reading; 0 at first."""
        stalled = self._stalled()
        if stalled is None:
            return self._lateness
        last, self._last = self._last, (now, stalled)
        if last is None or now <= last[0]:
            return 0.0
        return min(1.0, max(0.0, (stalled - last[1]) / (now - last[0])))
