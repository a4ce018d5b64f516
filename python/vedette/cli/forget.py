"""Forget what was seen: before a time, with these words, at a source; what several of them name, where all
agree.

The pictures that showed it go too, and nothing of it stays in the file.

examples:
  vedette forget --before 30d
  vedette forget --match 'account number' --dry-run
"""

from __future__ import annotations

import argparse

from vedette.cli.terminal import print_json
from vedette.cli.times import moment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette forget``."""
    add = parser.add_argument
    add("--before", metavar="WHEN", type=moment, help="what was first seen before: 30d ago, 2026-11-21")
    add("--match", metavar="WORDS", help="what has all these words, as in `vedette search`")
    add("--source", metavar="NAME", help="what was seen at this source, or those whose name begins so")
    add("--dry-run", action="store_true", help="only tell how much it would be")
    add("--store", metavar="FILE", help="the store; default: see docs/watching.md")
    add("--json", action="store_true", help="write JSON to stdout")
    parser.set_defaults(parser=parser)


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette forget``."""
    if chosen.before is None and chosen.match is None and chosen.source is None:
        chosen.parser.error("name what to forget: --before, --match or --source")
    from vedette.store import Store

    # Opened for reading first, so that a store that is not there is not made.
    Store(chosen.store, readonly=True).close()
    with Store(chosen.store) as store:
        count = store.forget(
            before=chosen.before, match=chosen.match, source=chosen.source, dry_run=chosen.dry_run
        )
    if chosen.json:
        print_json({"sightings": count, "dry_run": chosen.dry_run})
    else:
        print(f"{count} sightings {'would be forgotten' if chosen.dry_run else 'forgotten'}")
    return 0
