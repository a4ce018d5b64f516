"""An hour of watching, as fast as it goes: ``python -m bench.soak [--frames 36000]``.

A part of a drawn recording is watched over and over with a store. Every thousand frames: resident memory,
threads, descriptors, and the size of the store beside what its first tenth predicts.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vedette.bench.recording import frames as frames_of
from vedette.bench.recording import write

PART = (360, 640)
WARM = 0.2


def held_mb() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _parts(folder: Path) -> list[Path]:
    """A part of each frame of five minutes, as raw RGB: nothing is decoded while memory is measured."""
    write(folder / "recording.mkv", 300)
    parts = []
    for number, pixels in enumerate(frames_of(folder / "recording.mkv")):
        parts.append(folder / f"{number:03}.rgb")
        pixels[: PART[0], : PART[1]].tofile(parts[-1])
    return parts


def main() -> None:
    """Watch, sample, and fit a line."""
    from vedette.ocr import Reader
    from vedette.ocr.detector import DetectorOptions
    from vedette.sources import Arrays
    from vedette.store import Store
    from vedette.watch import ReadTask, Watcher, WatchOptions

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=36_000)
    frames = parser.parse_args().frames
    rows: list[tuple[float, ...]] = []
    with tempfile.TemporaryDirectory() as folder:
        parts = _parts(Path(folder))
        path = Path(folder) / "seen.db"
        store = Store(path)

        def replay() -> Iterator[Any]:
            for number in range(frames):
                if number % 1000 == 0:
                    sightings = store.stats()
                    descriptors = len(os.listdir("/proc/self/fd"))
                    sample = (held_mb(), threading.active_count(), descriptors, sightings.bytes / 1e6)
                    rows.append((number, *sample, sightings.sightings))
                    print("{:7d}{:10.1f}{:9d}{:13d}{:11.2f}{:11d}".format(*rows[-1]), flush=True)
                yield np.fromfile(parts[number % len(parts)], np.uint8).reshape(*PART, 3)

        print(f"{'frame':>7}{'RSS MB':>10}{'threads':>9}{'descriptors':>13}{'store MB':>11}{'sightings':>11}")
        reader = Reader(threads=1, detector=DetectorOptions(shortest_side=320))
        options = WatchOptions(thumbnail_s=None)
        Watcher([Arrays(replay())], lambda _: [ReadTask(reader)], store=store, options=options).run()
    warm = np.array([row for row in rows if row[0] >= WARM * frames])
    slope = np.polyfit(warm[:, 0], warm[:, 1], 1)[0]
    early, last = rows[max(1, len(rows) // 10)], rows[-1]
    predicted = rows[0][4] + (early[4] - rows[0][4]) * (last[5] - rows[0][5]) / max(1, early[5] - rows[0][5])
    print(
        f"memory: {1000 * slope:+.3f} MB a 1,000 frames, spread {np.ptp(warm[:, 1]):.1f} MB; "
        f"store: {last[4]:.2f} MB, predicted {predicted:.2f} MB; "
        f"threads {warm[:, 2].min():.0f} to {warm[:, 2].max():.0f}, "
        f"descriptors {warm[:, 3].min():.0f} to {warm[:, 3].max():.0f}"
    )


if __name__ == "__main__":
    main()
