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
        from rich.live import Live

        with Live(auto_refresh=False) as live:
            while True:
                live.update(_rows(_watches()), refresh=True)
                time.sleep(1)
    found = _watches()
    if chosen.json:
        for watch in found:
            print_json(watch, indent=None)
    elif found:
        print_table(_rows(found))
        for watch in found:
            _print_details(watch)
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
    right = ("process", "seen", "unchanged", "processed", "dropped", "events", "last output")
    rows = table("process", "source", "state", *right[1:], right=right)
    for watch in watches:
        if "error" in watch:
            rows.add_row(str(watch["pid"]), "", watch["error"], "", "", "", "", "", "")
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
                dropped or "0",
                str(source["events"]),
                "never" if age is None else f"{age:.0f} s ago",
            )
    return rows


def _print_details(watch: dict[str, Any]) -> None:
    if "error" in watch:
        return
    stages = ", ".join(f"{stage} {100 * share:.2f} %" for stage, share in watch["cpu_share"].items())
    print(f"\nprocess {watch['pid']}, for {watch['running_s']:.0f} s")
    print(f"  of a core, over 10 s: {stages or 'not known yet'}")
    held = watch["memory_bytes"]
    print(f"  memory: {'not known' if held is None else f'{held / 1e6:.0f} MB'}")
    store = watch["store"]
    trouble = f"; {store['trouble']}" if store["trouble"] else ""
    print(f"  store: {store['written']} events written, {store['pending']} waiting{trouble}")
