"""Measure Vedette against OpenCV, Pillow and NumPy on this machine, in interleaved pairs.

The groups are image, memory and tensor. Peers that a group needs must be installed; charts need matplotlib.

example:
  vedette bench tensor --json tensor.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from vedette.cli.arguments import positive, thread_count

GROUPS = ("image", "memory", "tensor")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette bench``."""
    parser.add_argument(
        "groups", metavar="GROUP", nargs="*", help=f"any of {', '.join(GROUPS)}; default: all"
    )
    parser.add_argument(
        "--threads", dest="thread_counts", type=thread_count, nargs="+", default=[1, 2], metavar="N"
    )
    parser.add_argument("--pairs", type=positive, default=20, help="pairs of turns for each case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every record")
    parser.add_argument("--charts", type=Path, metavar="FOLDER", help="draw charts; needs matplotlib")
    parser.set_defaults(parser=parser)


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette bench``."""
    if unknown := set(chosen.groups) - set(GROUPS):
        chosen.parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    from vedette import bench
    from vedette.errors import VedetteError

    records: list[dict[str, Any]] = []
    for group in chosen.groups or GROUPS:
        header, rows = bench.run(group, chosen.thread_counts, chosen.pairs)
        print(header)
        for row in rows:
            print(row.line(), flush=True)
            records.append(row.to_dict())
    if chosen.json:
        written = {"machine": bench.machine(), "records": records}
        chosen.json.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    if chosen.charts:
        try:
            from vedette.bench.charts import draw
        except ModuleNotFoundError as error:
            raise VedetteError("charts need matplotlib: pip install matplotlib") from error
        for path in draw(records, chosen.charts):
            print(f"vedette: wrote {path}", file=sys.stderr)
    return 0
