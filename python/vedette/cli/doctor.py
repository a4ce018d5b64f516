"""Show what Vedette found on this machine: the CPU, threads, memory, versions, model packages.

example:
  vedette doctor --json
"""

from __future__ import annotations

import argparse
import platform
from importlib import metadata
from typing import Any

from vedette import hub, memory, runtime
from vedette.cli.terminal import print_json
from vedette.errors import WatchError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette doctor``."""
    parser.add_argument("--json", action="store_true", help="write JSON to stdout")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette doctor``."""
    facts = _facts()
    if chosen.json:
        print_json(facts)
        return 0
    for title, section in facts.items():
        print(f"{title}:")
        for name, value in section.items():
            print(f"  {name + ':':18} {_text(value)}")
    return 0


def _facts() -> dict[str, dict[str, Any]]:
    return {
        "versions": {
            "vedette": metadata.version("vedette"),
            "python": platform.python_version(),
            **{name: _version(name) for name in ("numpy", "onnx", "pillow", "onnxruntime", "pip")},
        },
        "cpu": {
            "machine": platform.machine(),
            **runtime.cpu_features(),
            "levels": runtime.available_isas(),
            "level in use": runtime.isa(),
            "effective cores": runtime.effective_cores(),
            "threads": runtime.get_num_threads(),
        },
        "memory": _memory(),
        "models": {
            "home": str(hub.home()),
            **{package.name: hub.status(package.name) for package in hub.packages()},
        },
        **_watches(),
    }


_RESPONSE_S = 0.1
_GROWTH_BYTES_PER_HOUR = 10_000_000


def _watches() -> dict[str, dict[str, Any]]:
    """Each running watch: whether it keeps its budget and its memory, and answers at once."""
    from vedette.watch.control import ask, running

    found: dict[str, dict[str, Any]] = {}
    for pid in running():
        try:
            status = ask(pid)
        except WatchError as error:
            found[f"watch {pid}"] = {"answers": False, "why": str(error)}
            continue
        budget, growth = status["budget"] or {}, status["memory_growth_per_hour"]
        limit, held = budget.get("limit_cores"), budget.get("memory_limit_bytes")
        stalled = [source["source"] for source in status["sources"] if source["stalled"]]
        found[f"watch {pid}"] = {
            "answers": status["response_s"] < _RESPONSE_S,
            "response ms": round(1000 * status["response_s"], 1),
            "within CPU budget": limit is None or status["most_cpu_share"] <= 1.02 * limit,
            "most CPU in 10 s": status["most_cpu_share"],
            "within memory": held is None or (status["memory_bytes"] or 0) <= held,
            "memory": status["memory_bytes"],
            "memory flat": "not known yet" if growth is None else growth < _GROWTH_BYTES_PER_HOUR,
            "stalled": stalled or False,
            "store": status["store"]["trouble"] or "sound",
        }
    return found


def _memory() -> dict[str, Any]:
    pool = memory.default_pool().stats()
    facts: dict[str, Any] = {
        "pool in use": pool.current_bytes,
        "pool held": pool.held_bytes,
        "pool peak": pool.peak_bytes,
        "pool hits": pool.hits,
        "pool misses": pool.misses,
        "page faults": pool.page_faults,
    }
    try:
        pressure = memory.pressure()
    except OSError:
        return {"pressure": "unknown", **facts}
    return {
        "pressure": pressure.level,
        "used": pressure.used_bytes,
        "limit": pressure.limit_bytes,
        "limited by": pressure.scope,
        **facts,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _text(value: Any) -> str:
    match value:
        case None:
            return "not installed"
        case True | False:
            return "yes" if value else "no"
        case list():
            return ", ".join(value)
        case _:
            return str(value)
