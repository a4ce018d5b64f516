"""Clocks that jump and machines that sleep."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

__all__ = ["ClockWatch"]

_JUMP_S = 2.0


def _since_boot() -> float:
    """Seconds that count while the machine sleeps too, where the system has such a clock."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class ClockWatch:
    """Compares the clocks now and then: one that ran further than the others was set, or ran while others
    slept.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        since_boot: Callable[[], float] = _since_boot,
    ) -> None:
        self._clocks = (wall, monotonic, since_boot)
        self._last = tuple(clock() for clock in self._clocks)

    def look(self) -> list[tuple[str, str]]:
        """What happened since the last look, as kinds and details of incidents."""
        now = tuple(clock() for clock in self._clocks)
        wall, steady, since_boot = (after - before for before, after in zip(self._last, now, strict=True))
        self._last = now
        happened = []
        # Where nothing tells the two apart, a long step forward is taken for sleep.
        slept = since_boot - steady
        if slept > _JUMP_S:
            happened.append(("slept", f"for {slept:.0f} s"))
        jump = wall - steady - max(0.0, slept)
        if abs(jump) > _JUMP_S:
            happened.append(("clock jumped", f"by {jump:+.0f} s"))
        return happened
