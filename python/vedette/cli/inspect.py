"""Show a model's graph as it is in the file and as it is compiled, node by node.

Operators that the native engine lacks are listed at the end.

example:
  vedette inspect net.onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vedette.cli.terminal import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette inspect``."""
    parser.add_argument("model", metavar="MODEL.onnx", type=Path)
    parser.add_argument("--json", action="store_true", help="write JSON to stdout")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette inspect``."""
    from vedette import model

    inspection = model.inspect(chosen.model)
    if chosen.json:
        print_json(inspection.to_dict())
    else:
        print(inspection)
    return 0
