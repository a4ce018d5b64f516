"""Watch folders of images: what can be read there is reported as it appears, changes and goes, and kept.

With --json each event is one JSON object on a line of its own, written after it is safe in the store. Search
what was seen with `vedette search`, lay it out in time with `vedette timeline`, remove it with `vedette
forget`.
Ctrl-C or SIGTERM ends the watch with everything written.

examples:
  vedette watch frames/ --json
  vedette watch frames/ --follow --store seen.db
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, Any

from vedette import hub
from vedette.cli.arguments import package_name, thread_count
from vedette.cli.terminal import print_json, progress

if TYPE_CHECKING:
    from vedette.watch import Event


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette watch``."""
    add = parser.add_argument
    add("sources", metavar="SOURCE", nargs="+", help="a folder of images, an image, or a pattern of them")
    add("--json", action="store_true", help="write events as JSON lines to stdout")
    add("--follow", action="store_true", help="wait for images that are put into a folder later")
    add("--store", metavar="FILE", help="where to keep what is seen; default: see docs/watching.md")
    add("--no-store", action="store_true", help="keep nothing")
    add("--models", metavar="NAME", type=package_name, default="ppocr-v6-small", help="model package")
    add("--threads", metavar="N", type=thread_count, help="default: the cores this process may use")
    add("--full-frame", action="store_true", help="read every changed frame as a whole (the way back)")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette watch``."""
    if hub.status(chosen.models) != "present":
        with progress() as report:
            hub.pull(chosen.models, progress=report)
    from vedette.ocr import Reader
    from vedette.sources import open_source
    from vedette.store import Store
    from vedette.watch import ReadTask, Watcher

    sources = [open_source(text, follow=chosen.follow) for text in chosen.sources]
    store = None if chosen.no_store else Store(chosen.store)
    if store is not None:
        if store.damaged is not None:
            print(f"vedette: the store was damaged; it is kept as {store.damaged}", file=sys.stderr)
        store.claim()
    reader = Reader(chosen.models, threads=chosen.threads)
    watcher = Watcher(
        sources,
        lambda _: [ReadTask(reader, incremental=not chosen.full_frame)],
        store=store,
        on_event=_print_json if chosen.json else _print_text,
    )

    def stop(*_: Any) -> None:
        watcher.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    watcher.run()
    failed = [source for source in watcher.status()["sources"] if source["state"] == "failed"]
    for source in failed:
        print(f"vedette: error: {source['detail']}", file=sys.stderr)
    return 1 if failed else 0


def _print_json(event: Event) -> None:
    print_json(event.to_dict(), indent=None)
    sys.stdout.flush()


_SIGNS = {"appeared": "+", "changed": "~", "gone": "-", "entered": "+", "left": "-", "label": "~"}


def _print_text(event: Event) -> None:
    print(f"{_SIGNS.get(event.kind, '?')} {event.text}", flush=True)
