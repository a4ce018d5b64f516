"""What the machine says of itself: whether it runs on its battery, how hot it is, and who waits for it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from vedette.runtime.target import CpuPressure
from vedette.watch.governor import IN_THE_WAY

__all__ = ["Machine", "load", "on_battery", "temperature_c"]

_SELDOM_S = 5.0
"""Time between two looks at battery and temperature, and while little is used at who waits for cores."""


class Machine:
    """What was read last; None where the system does not say.

    Parameters
    ----------
    cpu_pressure
        Measures who waits for cores.
    """

    def __init__(self, cpu_pressure: CpuPressure) -> None:
        self.on_battery: bool | None = None
        self.temperature_c: float | None = None
        self.pressure = 0.0
        self._cpu_pressure = cpu_pressure
        self._due = 0.0

    def look(self, used_cores: float) -> str | None:
        """Read what is due, for a watch that uses so much and asks once a second; what changed, in words."""
        now = time.monotonic()
        due = now >= self._due
        if due or used_cores >= IN_THE_WAY:
            self.pressure = self._cpu_pressure.read(now)
        if not due:
            return None
        self._due = now + _SELDOM_S
        self.temperature_c = temperature_c()
        before, self.on_battery = self.on_battery, on_battery()
        if before is None or before == self.on_battery:
            return None
        return "on battery" if self.on_battery else "on mains"

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "on_battery": self.on_battery,
            "temperature_c": self.temperature_c,
            "load": load(),
            "pressure": round(self.pressure, 4),
        }


def on_battery(root: Path = Path("/sys/class/power_supply")) -> bool | None:
    """Whether no mains supply is connected although the machine has a battery; None where that is not
    known.
    """
    mains, battery = [], False
    try:
        for supply in root.iterdir():
            kind = (supply / "type").read_text().strip()
            if kind == "Battery" and not (supply / "scope").exists():
                battery = True
            elif kind in ("Mains", "USB"):
                mains.append((supply / "online").read_text().strip() == "1")
    except OSError:
        return None
    return battery and not any(mains) if battery or mains else None


def temperature_c(root: Path = Path("/sys/class/thermal")) -> float | None:
    """The hottest reading in degrees Celsius; None where there is none."""
    readings = []
    for zone in sorted(root.glob("thermal_zone*")):
        try:
            readings.append(int((zone / "temp").read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(readings, default=None)


def load() -> float | None:
    """Threads that ran or waited for a core, averaged over the last minute; None where that is not known."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
