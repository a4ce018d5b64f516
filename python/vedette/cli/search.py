"""Search what was seen: sightings with all these words, the newest first.

Case and accents do not count; words in quotes are found next to one another, and a star stands for any
ending.

examples:
  vedette search invoice 4711
  vedette search '"total due"' --since 2h --source screen
  vedette search 'deliver*' --json
"""

from __future__ import annotations

import argparse

from vedette.cli.terminal import print_json, print_table, table
from vedette.cli.times import moment, shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette search``."""
    add = parser.add_argument
    add("words", metavar="WORD", nargs="+", help="to find")
    add("--since", metavar="WHEN", type=moment, help="seen after: 2h, 7d, 2026-11-21")
    add("--until", metavar="WHEN", type=moment, help="seen before")
    add("--source", metavar="NAME", help="only of this source, or sources whose name begins so")
    add("--kind", choices=("text", "object", "label"), help="only of this kind")
    add("--limit", metavar="N", type=int, default=20, help="most matches; default: 20")
    add("--store", metavar="FILE", help="the store; default: see docs/watching.md")
    add("--json", action="store_true", help="one JSON object a match")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette search``; 1 where nothing is found."""
    from vedette.store import Store

    with Store(chosen.store, readonly=True) as store:
        found = store.search(
            " ".join(chosen.words),
            since=chosen.since,
            until=chosen.until,
            source=chosen.source,
            kind=chosen.kind,
            limit=chosen.limit,
        )
    if chosen.json:
        for match in found:
            print_json(match.to_dict(), indent=None)
    elif found:
        rows = table("seen", "until", "source", "text")
        for match in found:
            ended = "still there" if match.ended is None else shown(match.ended)
            rows.add_row(shown(match.began), ended, match.source, match.text)
        print_table(rows)
    return 0 if found else 1
