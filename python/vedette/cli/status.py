"""Show how the running watches are: frames by what became of them, processor time by stage, memory, the
store.

examples:
  vedette status
  vedette status --follow
  vedette status --json
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from vedette.cli.terminal import print_json, print_table, table
from vedette.errors import WatchError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette status``."""
    parser.add_argument("--json", action="store_true", help="one JSON object a watch")
    parser.add_argument("--follow", action="store_true", help="show it anew every second, until Ctrl-C")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette status``; 1 where nothing watches."""
    if chosen.follow:
        from rich.console import Group
        from rich.live import Live
        from rich.text import Text

        with Live(auto_refresh=False) as live:
            while True:
                found = _watches()
                details = [Text(line) for watch in found for line in _details(watch)]
                live.update(Group(_rows(found), *details), refresh=True)
                time.sleep(1)
    found = _watches()
    if chosen.json:
        for watch in found:
            print_json(watch, indent=None)
    elif found:
        print_table(_rows(found))
        for watch in found:
            print("\n".join(_details(watch)))
    else:
        print("no watch is running")
    return 0 if found else 1


def _watches() -> list[dict[str, Any]]:
    from vedette.watch.control import ask, running

    found = []
    for pid in running():
        try:
            found.append({"pid": pid, **ask(pid)})
        except WatchError as error:
            found.append({"pid": pid, "error": str(error)})
    return found


def _rows(watches: list[dict[str, Any]]) -> Any:
    right = ("process", "seen", "unchanged", "processed", "waiting", "dropped", "events", "last output")
    rows = table("process", "source", "state", *right[1:], right=right)
    for watch in watches:
        if "error" in watch:
            rows.add_row(str(watch["pid"]), "", watch["error"], "", "", "", "", "", "", "")
        for source in watch.get("sources", ()):
            age = source["last_output_age_s"]
            dropped = ", ".join(f"{number} {cause}" for cause, number in source["dropped"].items())
            rows.add_row(
                str(watch["pid"]),
                source["source"],
                "stalled: " + source["detail"] if source["stalled"] else source["state"],
                str(source["seen"]),
                str(source["unchanged"]),
                str(source["processed"]),
                str(source["waiting"]),
                dropped or "0",
                str(source["events"]),
                "never" if age is None else f"{age:.0f} s ago",
            )
    return rows


def _details(watch: dict[str, Any]) -> list[str]:
    """What is known of a watch as a whole."""
    if "error" in watch:
        return []
    stages = ", ".join(f"{stage} {100 * share:.2f} %" for stage, share in watch["cpu_share"].items())
    held = watch["memory_bytes"]
    owners = ", ".join(f"{owner} {size / 1e6:.0f}" for owner, size in watch["memory_by_owner"].items())
    store, queues = watch["store"], watch["queues"]
    trouble = f"; {store['trouble']}" if store["trouble"] else ""
    lines = [
        f"\nprocess {watch['pid']}, for {watch['running_s']:.0f} s" + (", paused" if watch["paused"] else ""),
        f"  of a core, over 10 s: {stages or 'not known yet'}",
        f"  memory: {'not known' if held is None else f'{held / 1e6:.0f} MB'} ({owners})",
        f"  waiting: {queues['frames']} frames, {queues['events']} events",
        f"  store: {store['written']} events written{trouble}",
    ]
    return [*lines, *_budget(watch)]


def _budget(watch: dict[str, Any]) -> list[str]:
    """The budget, how it is kept, and what the machine says."""
    budget, governor = watch["budget"] or {}, watch["governor"]
    limit, memory = budget.get("limit_cores"), budget.get("memory_limit_bytes")
    allowed = [
        *([] if limit is None else [f"{100 * limit:.0f} % of a core"]),
        *([] if memory is None else [f"{memory / 1e6:.0f} MB"]),
    ]
    why = f" ({governor['reason']})" if governor["reason"] else ""
    readings = [
        ("on battery", watch["on_battery"], "{}"),
        ("temperature", watch["temperature_c"], "{:.0f} degrees"),
        ("load", watch["load"], "{:.2f}"),
        ("others wait", 100 * watch["pressure"], "{:.0f} % of the time"),
    ]
    words = {True: "yes", False: "no"}
    known = [
        f"{name} {form.format(words.get(value, value) if isinstance(value, bool) else value)}"
        for name, value, form in readings
        if value is not None
    ]
    return [
        f"  budget: {' and '.join(allowed) or 'none'}; step {governor['level']} of {governor['of']}: "
        f"{governor['step']}{why}, {governor['rate']:g} looks a second",
        f"  machine: {', '.join(known)}",
    ]
