"""Lay out in time what was seen: in each step how much began, the longest of it, and what happened to the
watch.

examples:
  vedette timeline --since 8h
  vedette timeline --since 2026-11-21 --step 1h --source screen --json
"""

from __future__ import annotations

import argparse

from vedette.cli.terminal import print_json, print_table, table
from vedette.cli.times import duration, moment, shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette timeline``."""
    add = parser.add_argument
    add("--since", metavar="WHEN", type=moment, help="from: 2h ago, 7d ago, 2026-11-21")
    add("--until", metavar="WHEN", type=moment, help="up to")
    add("--source", metavar="NAME", help="only of this source, or sources whose name begins so")
    add("--step", metavar="TIME", type=duration, default=600.0, help="default: 10m")
    add("--store", metavar="FILE", help="the store; default: see docs/watching.md")
    add("--json", action="store_true", help="one JSON object a step and source")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette timeline``."""
    from vedette.store import Store

    with Store(chosen.store, readonly=True) as store:
        periods = store.timeline(
            since=chosen.since, until=chosen.until, source=chosen.source, step_s=chosen.step
        )
    if chosen.json:
        for period in periods:
            print_json(period.to_dict(), indent=None)
        return 0
    rows = table("from", "source", "seen", "of it", "the watch", right=("seen",))
    for period in periods:
        rows.add_row(
            shown(period.began),
            period.source,
            str(period.sightings),
            "\n".join(period.texts),
            "\n".join(period.incidents),
        )
    print_table(rows)
    return 0
