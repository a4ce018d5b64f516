"""From a change on the screen to its event: ``python -m bench.latency [--rate 5] [--changes 40]``.

A 1080p screen shows a page on which a line changes at random moments; it is watched live, with two threads.
What counts is the time from the moment of the change to the event, the wait for the next look included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.recording import draw, windows
from vedette.ocr import Reader
from vedette.sources import Frame, Source, SourceEnded
from vedette.store import Store
from vedette.watch import Event, ReadTask, Watcher, WatchOptions

FIRST_S = 8.0


class Typing(Source):
    """A screen that changes at given times."""

    live = True

    def __init__(self, changes: int) -> None:
        super().__init__("screen")
        rng = np.random.default_rng(2)
        window = windows(1)[0]
        words = [line[0].split()[0] for line in window.lines]
        self._at = FIRST_S + np.cumsum(rng.uniform(0.8, 1.6, changes))
        self._frames = [draw(window, "10:00")[0]]
        self.texts: dict[str, float] = {}
        for number, after in enumerate(self._at):
            window.typed = [f"{number} {words[number % len(words)]} {words[-1 - number % len(words)]}"]
            self.texts[window.typed[0]] = float(after)
            self._frames.append(draw(window, "10:00")[0])
        self.began = 0.0

    def open(self) -> None:
        self.began = time.monotonic()

    def read(self, timeout_s: float) -> Frame | None:
        del timeout_s
        elapsed = time.monotonic() - self.began
        if elapsed > self._at[-1] + 2:
            raise SourceEnded
        shown = int(np.searchsorted(self._at, elapsed, side="right"))
        return Frame((self._frames[shown].copy(),), "rgb", shown, time.time())


def main() -> None:
    """Watch and tell the delays."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--changes", type=int, default=40)
    chosen = parser.parse_args()
    source = Typing(chosen.changes)
    delays: list[float] = []

    def listen(event: Event) -> None:
        if event.kind != "gone" and event.text in source.texts:
            delays.append(time.monotonic() - source.began - source.texts[event.text])

    reader = Reader(threads=2)
    with tempfile.TemporaryDirectory() as folder:
        Watcher(
            [source],
            lambda _: [ReadTask(reader)],
            store=Store(Path(folder) / "seen.db"),
            on_event=listen,
            options=WatchOptions(rate=chosen.rate, thumbnail_s=None),
        ).run()
    milliseconds = 1000 * np.array(delays)
    print(
        f"{len(delays)} of {chosen.changes} changes told as they were written; ms from change to event: "
        f"median {np.median(milliseconds):.0f}, 95th percentile {np.percentile(milliseconds, 95):.0f}"
    )


if __name__ == "__main__":
    main()
