"""Whether the machine runs on its battery, and how hot it is, where the system says so."""

from __future__ import annotations

from pathlib import Path

__all__ = ["on_battery", "temperature_c"]


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
