"""Times as people type and read them."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration(text: str) -> float:
    """Seconds of a duration: ``90s``, ``10m``, ``2h``, ``7d``, ``4w``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text.strip().lower())
    if not found:
        raise argparse.ArgumentTypeError(f"expected a duration such as 90s, 10m, 2h or 7d, got {text!r}")
    return float(found[1]) * _UNITS[found[2] or "s"]


def moment(text: str) -> float:
    """A Unix time: so long ago (``2h``), or a date and time (``2026-11-21``, ``2026-11-21T10:30``)."""
    try:
        return time.time() - duration(text)
    except argparse.ArgumentTypeError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"expected how long ago (2h, 7d) or a date (2026-11-21, 2026-11-21T10:30), got {text!r}"
        ) from None


def shown(at: float) -> str:
    """A Unix time for people, in local time."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def size(text: str) -> int:
    """Bytes: ``500MB``, ``2GB``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", text.strip().lower())
    if not found:
        raise argparse.ArgumentTypeError(f"expected a size such as 500MB or 2GB, got {text!r}")
    return int(float(found[1]) * 1000 ** " kmgt".index(found[2] or " "))
