"""A still screen watched: ``python -m vedette.bench.still SECONDS HOW`` prints its CPU as a share of a core.

It is a screen of 1080p, from the X server to the store: one that tells of changes (``told``), or one that
does not, and is taken and compared as often as asked (``blind``). Where there is no Xvfb or xcffib its
picture is given as it is (``given``), and what it costs to take one is missing.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.bench import display
from vedette.bench.recording import draw, windows
from vedette.sources import Pushed
from vedette.sources.screen import Screen

REST_S = 5.0
"""After so long the page has been read, and the watch rests."""

RATE = 1.0


WHAT = {
    "told": "an X server of 1080p that tells of changes: pictures are taken seldom",
    "blind": "an X server of 1080p that does not: each look compares it",
    "given": "a picture of 1080p, without taking it from a screen",
}


def shares_of_core(seconds: float) -> Iterator[tuple[str, float]]:
    """What is watched, and the CPU seconds a second of a watch of it while it is still; each in a process of
    its own.
    """
    server = sys.platform == "linux" and display.available() and importlib.util.find_spec("mss") is not None
    for how in ("told", "blind") if server else ("given",):
        command = [sys.executable, "-m", "vedette.bench.still", str(seconds), how]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        yield WHAT[how], json.loads(done.stdout.splitlines()[-1])["share"]


def _watch(source: Any, seconds: float) -> float:
    from vedette.ocr import Reader
    from vedette.store import Store
    from vedette.watch import ReadTask, Watcher, WatchOptions

    reader = Reader()
    share: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        watcher = Watcher(
            [source],
            lambda _: [ReadTask(reader)],
            store=Store(Path(folder) / "seen.db"),
            options=WatchOptions(rate=RATE),
        )

        def measure() -> None:
            until = time.monotonic() + 60.0
            while not watcher.recorder.written and time.monotonic() < until:
                time.sleep(0.2)
            time.sleep(REST_S)
            wall, used = time.monotonic(), time.process_time()
            time.sleep(seconds)
            share.append((time.process_time() - used) / (time.monotonic() - wall))
            watcher.stop()

        meter = threading.Thread(target=measure)
        meter.start()
        watcher.run()
        meter.join()
    (health,) = watcher.status()["sources"]
    if health["state"] == "failed":
        raise SystemExit(f"the watch of a still screen failed: {health['detail']}")
    return share[0]


def _given(pixels: NDArray[np.uint8], seconds: float) -> float:
    source = Pushed(live=True, name="picture")
    stop = threading.Event()

    def push() -> None:
        while not stop.wait(1 / RATE):
            source.push(pixels)

    threading.Thread(target=push, daemon=True).start()
    try:
        return _watch(source, seconds)
    finally:
        stop.set()


def main() -> None:
    """Watch and tell."""
    seconds, how = float(sys.argv[1]), sys.argv[2]
    pixels = draw(windows(1)[0], "10:00")[0]
    if how == "given":
        share = _given(pixels, seconds)
    else:
        with display.server():
            monitor = display.Monitor()
            monitor.show(pixels)
            share = _watch(Screen() if how == "told" else display.BlindScreen(peeked=False), seconds)
    print(json.dumps({"share": share}))


if __name__ == "__main__":
    main()
