"""Watch screens, cameras, streams, videos and folders: text that appears, changes and goes is told and kept.

With --json each event is one JSON object on a line of its own, written after it is safe in the store. Search
what was seen with `vedette search`, lay it out in time with `vedette timeline`, remove it with
`vedette forget`; `vedette status` shows how the watch is, `vedette pause` has it look away. Ctrl-C or SIGTERM
ends it with everything written.

examples:
  vedette watch screen --cpu 25% --memory 500MB
  vedette watch camera:0 --task people.toml --json
  vedette watch recording.mp4 --every 1s --json
  vedette watch frames/ --follow --redact '[0-9]{4} [0-9]{4}'
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from vedette import hub
from vedette.cli.arguments import package_name, thread_count
from vedette.cli.terminal import print_json, progress
from vedette.cli.times import duration, size

if TYPE_CHECKING:
    from vedette.sources import Source
    from vedette.watch import Event, Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette watch``."""
    add = parser.add_argument
    add(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="screen, screen:2, screen:LEFT,TOP,WIDTHxHEIGHT, camera:0, rtsp://..., video, folder, images",
    )
    add("--json", action="store_true", help="write events as JSON lines to stdout")
    add("--quiet", action="store_true", help="write no events to stdout")
    add("--follow", action="store_true", help="wait for images that are put into a folder later")
    add("--rate", metavar="N", type=_rate, default=1.0, help="frames a second of live sources; default: 1")
    add(
        "--peek",
        metavar="TIME",
        type=duration,
        default=0.2,
        help="between looks at screens that do not tell when they change; default: 0.2s; 0s: as --rate says",
    )
    add("--every", metavar="TIME", type=duration, help="of a video, the time between frames looked at")
    add("--compare", choices=("exact", "luma"), help="by every byte, or by luma against noise")
    watched = parser.add_argument_group("what is looked for")
    add = watched.add_argument
    add(
        "--task",
        metavar="TASK",
        action="append",
        help="read (the default), or a model's TOML file; repeatable",
    )
    add("--models", metavar="NAME", type=package_name, default="ppocr-v6-small", help="models to read with")
    add(
        "--precision",
        choices=("auto", "fast", "bfloat16", "float32"),
        default="auto",
        help="numbers to read with; default: auto, the fastest as good as float32",
    )
    limits = parser.add_argument_group("limits")
    add = limits.add_argument
    add("--cpu", metavar="SHARE", help="of all cores (25%%), or cores ('0.5 cores')")
    add("--memory", metavar="SIZE", help="for example 500MB")
    add("--threads", metavar="N", type=thread_count, help="default: the cores this process may use")
    kept = parser.add_argument_group("what is kept")
    add = kept.add_argument
    add("--store", metavar="FILE", help="where to keep what is seen; default: see docs/watching.md")
    add("--no-store", action="store_true", help="keep nothing")
    add("--keep", metavar="TIME", type=duration, help="forget what is older, for example 30d")
    add("--keep-size", metavar="SIZE", type=size, help="forget the oldest beyond, for example 2GB")
    add("--no-thumbnails", action="store_true", help="keep no small pictures")
    add(
        "--exclude", metavar="REGION", type=_region, action="append", default=[], help="LEFT,TOP,WIDTHxHEIGHT"
    )
    add(
        "--exclude-window",
        metavar="PATTERN",
        type=_window_pattern,
        action="append",
        default=[],
        help="windows whose title or application matches, on X11; without regard to case",
    )
    add(
        "--redact", metavar="PATTERN", type=_pattern, action="append", default=[], help="a regular expression"
    )
    back = parser.add_argument_group("ways back")
    add = back.add_argument
    add("--full-frame", action="store_true", help="read every changed frame as a whole")
    add("--engine", choices=("native", "onnxruntime"), default="native", help="what runs the networks")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette watch``."""
    from vedette.runtime import Budget
    from vedette.sources import open_source
    from vedette.store import Store
    from vedette.watch import Watcher, WatchOptions
    from vedette.watch.control import ControlServer

    sources = [
        open_source(
            text,
            follow=chosen.follow,
            interval_s=chosen.every,
            rate=chosen.rate,
            comparison=chosen.compare,
            hidden_windows=chosen.exclude_window,
        )
        for text in chosen.sources
    ]
    budget = Budget(cpu=chosen.cpu, memory=chosen.memory)
    make_tasks = _task_maker(chosen, budget)
    store = None
    if not chosen.no_store:
        store = Store(chosen.store, max_age_s=chosen.keep, max_bytes=chosen.keep_size)
        if store.damaged is not None:
            _note("", "store damaged", f"it is kept as {store.damaged}; a new one is begun")
        store.claim()

    unread: list[BrokenPipeError] = []

    def tell(event: Event) -> None:
        try:
            (_print_json if chosen.json else _print_text)(event)
        except BrokenPipeError as error:
            # Nobody reads what is told: everything is written, then it ends as other commands do.
            unread.append(error)
            watcher.stop()

    watcher = Watcher(
        sources,
        make_tasks,
        store=store,
        on_event=[] if chosen.quiet else [tell],
        on_incident=_note,
        budget=budget,
        options=WatchOptions(
            rate=chosen.rate,
            peek_s=chosen.peek,
            thumbnail_s=None if chosen.no_thumbnails else 30.0,
            exclude=tuple(chosen.exclude),
        ),
    )

    def stop(*_: Any) -> None:
        watcher.stop()
        # Whoever waits for the budget goes on at once.
        budget.close()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server = ControlServer({"status": watcher.status})
    server.start()
    try:
        watcher.run()
    finally:
        server.close()
    if unread:
        raise unread[0]
    status = watcher.status()
    failed = [source for source in status["sources"] if source["state"] == "failed"]
    if watcher.recorder.unwritten:
        print(f"vedette: error: {watcher.recorder.unwritten} events could not be written", file=sys.stderr)
    return 1 if failed or watcher.recorder.unwritten else 0


def _task_maker(chosen: argparse.Namespace, budget: Any) -> Any:
    """What makes the tasks of each source; models and networks are loaded once."""
    from vedette.ocr import Reader
    from vedette.watch import ModelTask, ReadTask
    from vedette.watch.description import ModelDescription

    names = chosen.task or ["read"]
    descriptions = [ModelDescription.load(name) for name in names if name != "read"]
    reader = None
    if "read" in names:
        if hub.status(chosen.models) != "present":
            with progress() as report:
                hub.pull(chosen.models, progress=report)
        reader = Reader(
            chosen.models, precision=chosen.precision, threads=chosen.threads, engine=chosen.engine
        )

    @cache
    def fast() -> Reader:
        return Reader(chosen.models, precision="fast", threads=chosen.threads)

    has_fast = chosen.engine == "native" and chosen.precision != "fast"

    def make(source: Source) -> list[Task]:
        tasks: list[Task] = []
        if reader is not None:
            tasks.append(
                ReadTask(
                    reader,
                    incremental=not chosen.full_frame,
                    redact=chosen.redact,
                    patience=0 if source.comparison == "exact" else 2,
                    fast=fast if has_fast else None,
                    slice=budget.slice,
                )
            )
        tasks += [ModelTask(description, threads=chosen.threads) for description in descriptions]
        return tasks

    return make


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.001 <= rate <= 240:
        raise argparse.ArgumentTypeError(f"must be a number from 0.001 to 240, got {text!r}")
    return rate


def _region(text: str) -> tuple[int, int, int, int]:
    found = re.fullmatch(r"(\d+),(\d+),(\d+)x(\d+)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected LEFT,TOP,WIDTHxHEIGHT, got {text!r}")
    left, top, width, height = map(int, found.groups())
    return top, left, top + height, left + width


def _window_pattern(text: str) -> re.Pattern[str]:
    return _pattern(text, re.IGNORECASE)


def _pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    try:
        return re.compile(text, flags)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"no regular expression: {error}: {text!r}") from error


def _print_json(event: Event) -> None:
    print_json(event.to_dict(), indent=None)
    sys.stdout.flush()


_SIGNS = {"appeared": "+", "changed": "~", "gone": "-", "entered": "+", "left": "-", "label": "~"}


def _print_text(event: Event) -> None:
    print(f"{_SIGNS.get(event.kind, '?')} {event.text}", flush=True)


def _note(source: str, kind: str, detail: str) -> None:
    """What happens to the watch itself goes to stderr, but for what is only its course."""
    if kind not in ("started", "stopped"):
        words = ": ".join(word for word in (source, kind, detail) if word)
        if kind == "lost":
            words += "; trying again"
        print(f"vedette: {words}", file=sys.stderr, flush=True)
