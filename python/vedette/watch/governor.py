"""What a watch does without when there is not enough: declared steps, one after the other."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

__all__ = ["IN_THE_WAY", "STEPS", "Governor", "Readings", "Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """A way to watch.

    Attributes
    ----------
    name
        For people.
    rate
        The part of the looks asked for that is taken.
    resolution
        The part of the usual resolution at which text is looked for.
    fast
        Whether networks run in their fastest numbers.
    """

    name: str
    rate: float
    resolution: float = 1.0
    fast: bool = False


STEPS = (
    Step("as asked", 1.0),
    Step("half the rate", 0.5),
    Step("a quarter of the rate", 0.25),
    Step("a quarter of the rate, in fast numbers", 0.25, fast=True),
    Step("a quarter of the rate, in fast numbers, at three quarters of the resolution", 0.25, 0.75, True),
)
"""The rate goes first, since less often is not worse; then precision, then resolution."""

HOT_C = 90.0
"""Processors slow themselves down not far above."""

PRESSED = 0.25
"""Share of time in which some thread of the machine waits for a core."""

IN_THE_WAY = 0.25
"""Share of a core that a watch must use for others to gain anything by its doing less."""

_LOWEST_RATE = 2
"""The last step that only looks less often: how far a watch goes for others, who ask it for no worse work."""

_LOOKS = 6
_SHORT_LOOKS = 4
"""Of the last looks (one a second), how many must have found too little for a step down."""

_CALM_LOOKS = 30
"""Looks in a row that found enough before a step up."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What the governor goes by; None where the system does not say.

    Attributes
    ----------
    late
        Whether a source waits to be looked at because the look before has not ended.
    pressure
        Share of time in which some thread of the machine waits for a core.
    used_cores
        Cores this process used over the last seconds.
    """

    late: bool = False
    pressure: float | None = None
    used_cores: float = 0.0
    on_battery: bool | None = None
    temperature_c: float | None = None
    memory_level: Literal["normal", "warning", "critical"] = "normal"


class Governor:
    """Chooses the step; it has no clock: each ``look`` stands for a second.

    On battery, and where it is hot or memory short, the watch yields at once; where frames take longer than
    there is time for, or others wait for the processor, after some seconds of it. Back up it goes slowly.
    """

    def __init__(self) -> None:
        self.level = 0
        self.reason = ""
        self._short: deque[str] = deque(maxlen=_LOOKS)
        self._calm = 0

    @property
    def step(self) -> Step:
        """What is done now."""
        return STEPS[self.level]

    def look(self, readings: Readings) -> bool:
        """Take note of a second; whether the step is another one now."""
        floor, why = _floor(readings)
        short, lowest = _short(readings)
        self._short.append(short)
        self._calm = 0 if short else self._calm + 1
        before = self.level
        if self.level < floor:
            self.level, self.reason = floor, why
        elif sum(map(bool, self._short)) >= _SHORT_LOOKS and self.level < lowest:
            self.level, self.reason = self.level + 1, short
        elif self._calm >= _CALM_LOOKS and self.level > floor:
            self.level -= 1
            self.reason = "" if self.level == 0 else self.reason
        if self.level != before:
            self._short.clear()
            self._calm = 0
        return self.level != before


def _floor(readings: Readings) -> tuple[int, str]:
    """The least step that a state of the machine asks for, and which state."""
    if readings.memory_level == "critical":
        return 2, "memory is short"
    if readings.temperature_c is not None and readings.temperature_c >= HOT_C:
        return 2, f"the processor is at {readings.temperature_c:.0f} degrees"
    if readings.on_battery:
        return 1, "on battery"
    return 0, ""


def _short(readings: Readings) -> tuple[str, int]:
    """What there is too little of, empty where there is enough; and the last step to be taken for it."""
    if readings.late:
        return "frames take longer than there is time for", len(STEPS) - 1
    pressed = readings.pressure is not None and readings.pressure >= PRESSED
    if pressed and readings.used_cores >= IN_THE_WAY:
        return "others wait for the processor", _LOWEST_RATE
    return "", 0
