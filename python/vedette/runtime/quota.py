"""How much CPU time the system grants a process, as a number of cores that need not be whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vedette.runtime.affinity import allowed_cores


def usable_cores(root: Path = Path("/")) -> float:
    """Cores this process may use: those of its affinity mask, or the quota of its cgroup if that is less."""
    return min(float(len(allowed_cores())), quota_cores(root) or float("inf"))


def quota_cores(root: Path = Path("/")) -> float | None:
    """The least quota of this process's cgroup and those above it (Linux); None where there is no quota."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            quotas += [_of_max(folder) for folder in _folders(root / "sys/fs/cgroup", path)]
        elif "cpu" in controllers.split(","):
            for mount in (controllers, "cpu"):
                quotas += [_of_cfs(folder) for folder in _folders(root / "sys/fs/cgroup" / mount, path)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _folders(mount: Path, path: str) -> Iterator[Path]:
    """The group's folder and those above it; where the path is the host's, the mount alone exists."""
    inside = PurePosixPath(path.lstrip("/"))
    for part in (inside, *inside.parents):
        yield mount / part


def _of_max(folder: Path) -> float | None:
    """Of version 2: ``150000 100000`` is a core and a half, ``max 100000`` no quota."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _of_cfs(folder: Path) -> float | None:
    """Of version 1: microseconds in two files, -1 for no quota."""
    try:
        quota, period = (
            int((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii")) for name in ("quota", "period")
        )
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
