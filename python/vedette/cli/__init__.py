"""The ``vedette`` command. Each command is a module here with ``add_arguments`` and ``run``.

Data goes to stdout; progress, hints and errors go to stderr. Exit statuses: 0 done, 1 failed, 2 misused,
130 interrupted, 141 the reader of stdout went away.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from vedette.errors import InputError, VedetteError

__all__ = ["main"]

COMMANDS = {
    "read": "read the text of images",
    "run": "run any ONNX model",
    "watch": "watch a screen, camera, stream, video or folder, and keep what is seen",
    "search": "search what was seen",
    "timeline": "lay out in time what was seen",
    "forget": "remove what was seen",
    "status": "how the running watches are",
    "pause": "have watches look away",
    "resume": "have watches look again",
    "quantize": "make a model smaller and faster",
    "inspect": "show a model's graph before and after compilation",
    "models": "list, fetch and remove model packages",
    "top": "show what a running process does, as it does it",
    "bench": "measure Vedette against what people use today",
    "doctor": "show what Vedette found on this machine",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        # File names and recognised text may hold characters that the terminal's encoding lacks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        chosen = build_parser(arguments).parse_args(arguments)
        status = _run(chosen)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered has no reader; without this, Python would complain of it while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130
    return status


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser; of the commands, only the one that ``arguments`` names is imported."""
    parser = argparse.ArgumentParser(
        prog="vedette",
        description="Always-on computer vision for ordinary CPUs.",
        epilog="example:\n  vedette read receipt.png",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    named = next((word for word in arguments if word in COMMANDS), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == named:
            module = importlib.import_module(f"vedette.cli.{name}")
            command.description, _, command.epilog = (module.__doc__ or "").partition("\n\n")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


class _Version(argparse.Action):
    """Print the version; a class because looking it up costs more than parsing does."""

    def __init__(self, option_strings: list[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"vedette {version('vedette')}")
        parser.exit()


def _run(chosen: argparse.Namespace) -> int:
    from vedette import runtime
    from vedette.cli.terminal import report_error

    try:
        runtime.check_environment()
        if getattr(chosen, "threads", None) is not None:
            runtime.set_num_threads(chosen.threads)
    except InputError as error:
        report_error(error)
        return 2
    try:
        status: int = chosen.run(chosen)
    except VedetteError as error:
        report_error(error)
        return 1
    except BrokenPipeError:
        raise
    except OSError as error:
        report_error(f"{error.filename}: {error.strerror}" if error.filename else error)
        return 1
    except MemoryError:
        report_error("not enough memory")
        return 1
    return status
