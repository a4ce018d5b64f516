"""Searching a store of a million lines: ``python -m bench.search [--lines 1000000]``.

Each search is timed once as the first of its kind, on a connection just opened, and then as the best of five.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from vedette.bench.recording import WORDS
from vedette.store import Sighting, Store

BEGAN = 1.7e9
EVERY_S = 0.6


def fill(path: Path, lines: int) -> None:
    """Lines of six words and a number, one in ten of a camera."""
    rng = np.random.default_rng(1)
    with Store(path) as store:
        for start in range(0, lines, 20_000):
            words = rng.choice(WORDS, (20_000, 6))
            with store.transaction():
                for k in range(start, min(start + 20_000, lines)):
                    text = " ".join([*words[k - start], str(k % 7919)])
                    source = "screen" if k % 10 else "camera:0"
                    store.add(Sighting(source, "text", text, at=BEGAN + EVERY_S * k, box=(1, 2, 3, 4)))


def main() -> None:
    """Fill a store and search it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=1_000_000)
    chosen = parser.parse_args()
    middle = BEGAN + EVERY_S * chosen.lines / 2
    searches: list[tuple[str, dict[str, Any]]] = [
        ("invoice", {}),
        ("4711", {}),
        ("invoice payment", {}),
        ("invoice 4711", {}),
        ('"total transfer"', {}),
        ("inv*", {}),
        ("nowhere", {}),
        ("4711", {"since": middle, "until": middle + 10_000}),
        ("invoice payment", {"source": "camera:0"}),
        ("invoice", {"until": BEGAN + 1000}),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seen.db"
        fill(path, chosen.lines)
        print(f"{chosen.lines} lines, {path.stat().st_size / 1e6:.0f} MB")
        print(f"{'words':20}{'with':18}{'found':>6}{'first ms':>10}{'best ms':>9}")
        for words, options in searches:
            times = []
            with Store(path, readonly=True) as store:
                for _ in range(5):
                    start = time.perf_counter()
                    found = store.search(words, limit=20, **options)
                    times.append(1000 * (time.perf_counter() - start))
            print(f"{words:20}{', '.join(options):18}{len(found):6}{times[0]:10.2f}{min(times):9.2f}")


if __name__ == "__main__":
    main()
