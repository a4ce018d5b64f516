"""Measure Vedette against OpenCV, Pillow and NumPy on this machine, in interleaved pairs.

The groups are image, memory, tensor, quantization; watch: a drawn recording watched by Vedette, and read
frame by frame by RapidOCR on ONNX Runtime; and flow: batchers, maps, pipelines and budgets beside their
targets, and against LitServe, BentoML and Ray Serve where those are installed. Other peers that a group
needs must be; charts need matplotlib.

examples:
  vedette bench tensor --json tensor.json
  vedette bench watch --seconds 600 --charts charts/
  vedette bench flow --json flow.json --charts charts/
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from vedette.cli.arguments import positive, thread_count

GROUPS = ("image", "memory", "tensor", "quantization", "watch", "flow")


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
    of_watch = parser.add_argument_group("of the group watch")
    add = of_watch.add_argument
    add("--seconds", type=positive, default=60, metavar="N", help="length of the recording; default: 60")
    add(
        "--peer-frames",
        type=positive,
        default=6,
        metavar="N",
        help="frames that the peer reads, its CPU is scaled up to all; default: 6",
    )
    add("--realtime", action="store_true", help="watch a frame a second, instead of as fast as it goes")
    add("--cpu", metavar="SHARE", help="Vedette's budget, as for vedette watch")
    parser.set_defaults(parser=parser)


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette bench``."""
    if unknown := set(chosen.groups) - set(GROUPS):
        chosen.parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    from vedette import bench
    from vedette.errors import VedetteError

    records: list[dict[str, Any]] = []
    for group in chosen.groups or GROUPS:
        settings = _watch_settings(chosen) if group == "watch" else {}
        header, rows = bench.run(group, chosen.thread_counts, chosen.pairs, **settings)
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


def _watch_settings(chosen: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(chosen, name) for name in ("seconds", "peer_frames", "realtime", "cpu")}
