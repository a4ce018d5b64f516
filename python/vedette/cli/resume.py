"""Have the watches that `vedette pause` stopped look again.

example:
  vedette resume
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette resume``."""
    parser.add_argument("--store", metavar="FILE", help="the store; default: see docs/watching.md")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette resume``."""
    from vedette.store import default_path
    from vedette.watch.privacy import resume

    store = default_path() if chosen.store is None else Path(chosen.store).absolute()
    print("looking again" if resume(store) else "nothing was paused")
    return 0
