"""Have every watch that writes a store look away, at once and after a restart, until `vedette resume`.

examples:
  vedette pause
  vedette pause --for 30m
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vedette.cli.times import duration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette pause``."""
    parser.add_argument("--for", metavar="TIME", dest="for_s", type=duration, help="for example 30m")
    parser.add_argument("--store", metavar="FILE", help="the store; default: see docs/watching.md")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette pause``."""
    from vedette.store import default_path
    from vedette.watch.privacy import pause

    store = default_path() if chosen.store is None else Path(chosen.store).absolute()
    pause(store, chosen.for_s)
    print("paused" if chosen.for_s is None else f"paused for {chosen.for_s:g} s")
    return 0
