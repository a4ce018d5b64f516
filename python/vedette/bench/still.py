"""A still screen watched: ``python -m vedette.bench.still SECONDS`` prints its CPU as a share of a core.

On Linux with Xvfb and xcffib it is a screen of 1080p, from the X server to the store; elsewhere its picture
is given as it is, and what it costs to take one is missing.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from vedette.bench import display
from vedette.bench.recording import draw, windows

REST_S = 5.0
"""After so long the page has been read, and the watch rests."""

RATE = 1.0


def share_of_core(seconds: float) -> tuple[float, str]:
    """CPU seconds a second of a watch of a still screen, in a process of its own, and what was watched."""
    command = [sys.executable, "-m", "vedette.bench.still", str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer["share"], answer["what"]


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


def main() -> None:
    """Watch and tell."""
    seconds = float(sys.argv[1])
    pixels = draw(windows(1)[0], "10:00")[0]
    if sys.platform == "linux" and display.available() and importlib.util.find_spec("mss"):
        from vedette.sources.screen import Screen

        with display.server():
            monitor = display.Monitor()
            monitor.show(pixels)
            share, what = _watch(Screen(), seconds), "an X server of 1080p"
        print(json.dumps({"share": share, "what": what}))
        return
    from vedette.sources import Pushed

    source = Pushed(live=True, name="picture")
    stop = threading.Event()

    def push() -> None:
        while not stop.wait(1 / RATE):
            source.push(pixels)

    threading.Thread(target=push, daemon=True).start()
    share = _watch(source, seconds)
    stop.set()
    print(json.dumps({"share": share, "what": "a picture of 1080p, without taking it from a screen"}))


if __name__ == "__main__":
    main()
