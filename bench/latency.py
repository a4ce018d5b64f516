"""From a change on the screen to its event: ``python -m bench.latency [--rate 1] [--changes 40]``.

An X server without a monitor (Xvfb) shows a 1080p page on which a line changes at random moments; ``vedette
watch screen`` is run on it as a library would, with two threads. What counts is the time from the moment the
server has drawn the change to the event, after it is safe in the store. ``--blind`` keeps from the watch that
the server tells of changes, as on Windows and macOS: then the time to the next peek counts too. ``--alone``
has the watch yield to nobody, for machines on which other work would have it look less often.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from vedette.bench.display import BlindScreen, Monitor, server
from vedette.bench.recording import draw, windows
from vedette.ocr import Reader
from vedette.runtime.target import CpuPressure
from vedette.sources.screen import Screen
from vedette.store import Store
from vedette.watch import Event, ReadTask, Watcher, WatchOptions

FIRST_S = 8.0


def change(monitor: Monitor, changes: int, shown: dict[str, float], watcher: Watcher) -> None:
    """Write lines at random moments, and note when each was drawn."""
    rng = np.random.default_rng(2)
    window = windows(1)[0]
    words = [line[0].split()[0] for line in window.lines]
    monitor.show(draw(window, "10:00")[0])
    time.sleep(FIRST_S)
    for number in range(changes):
        time.sleep(rng.uniform(0.8, 1.6))
        window.typed = [f"{number} {words[number % len(words)]} {words[-1 - number % len(words)]}"]
        shown[window.typed[0]] = monitor.show(draw(window, "10:00")[0])
    time.sleep(2.0)
    watcher.stop()


def main() -> None:
    """Watch and tell the delays."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--changes", type=int, default=40)
    parser.add_argument("--blind", action="store_true")
    parser.add_argument("--alone", action="store_true")
    chosen = parser.parse_args()
    try:
        with server():
            measure(chosen)
    except FileNotFoundError:
        parser.exit(1, "latency: this needs Xvfb; on Debian or Ubuntu: apt install xvfb\n")


def measure(chosen: argparse.Namespace) -> None:
    """Watch the server's screen while it changes."""
    shown: dict[str, float] = {}
    told: dict[str, float] = {}
    source = BlindScreen(peeked=True) if chosen.blind else Screen()

    def listen(event: Event) -> None:
        if event.kind != "gone":
            told.setdefault(event.text, time.monotonic())

    reader = Reader(threads=2)
    with tempfile.TemporaryDirectory() as folder:
        watcher = Watcher(
            [source],
            lambda _: [ReadTask(reader)],
            store=Store(Path(folder) / "seen.db"),
            on_event=listen,
            options=WatchOptions(rate=chosen.rate, thumbnail_s=None),
            cpu_pressure=CpuPressure(stalled=lambda: 0.0) if chosen.alone else None,
        )
        person = threading.Thread(target=change, args=(Monitor(), chosen.changes, shown, watcher))
        person.start()
        watcher.run()
        person.join()
    delays = 1000 * np.array([told[text] - at for text, at in shown.items() if text in told])
    print(
        f"{len(delays)} of {chosen.changes} changes told as they were written; ms from change to event: "
        f"median {np.median(delays):.0f}, 95th percentile {np.percentile(delays, 95):.0f}, "
        f"most {delays.max():.0f}"
    )


if __name__ == "__main__":
    main()
