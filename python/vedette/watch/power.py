"""Whether the machine runs on its battery, how hot and how busy it is, where the system says so."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["load", "on_battery", "temperature_c"]


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
