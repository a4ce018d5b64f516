"""What only Rust can be compared in: resizing against the fast_image_resize crate, and blocks without Python.

Cargo builds both, so this needs the repository.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from vedette.bench.timing import Measured, copy_speed

__all__ = ["blocks", "resizing"]

ROOT = Path(__file__).parent.parent
TIMES = re.compile(
    r"bilinear (\d+)x(\d+) to (\d+)x(\d+) (\w+) *: ([\d.]+) ms, fast_image_resize ([\d.]+) ms, ([\d.]+)x"
)


def _cargo(*arguments: str) -> str:
    done = subprocess.run(
        ["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    return done.stdout


def resizing() -> Iterator[Measured]:
    """1080p to 224 and 640, antialiased, on one thread; both sides in turn, at each level."""
    printed = _cargo("run", "--release", "--quiet", "-p", "vedette-image", "--example", "compare_resize")
    levels: dict[int, dict[str, float]] = {}
    for found in TIMES.finditer(printed):
        width, height, size = (int(found[place]) for place in (1, 2, 3))
        ours, peer, speedup = (float(found[place]) for place in (6, 7, 8))
        levels.setdefault(size, {})[found[5]] = ours
        # Levels come in order, the best last.
        best = Measured(
            "image",
            f"resize {height}p to {size}, antialias bilinear",
            "fast_image_resize",
            1,
            ours,
            peer,
            speedup,
            3 * (width * height + size * size) / 1e6 / copy_speed(),
            dict(levels[size]),
            target=1.3 if size in (224, 640) else None,
        )
        if found[5] == _best_level(printed):
            yield best


def _best_level(printed: str) -> str:
    return TIMES.findall(printed)[-1][4]


def blocks() -> Iterator[Measured]:
    """Acquire and release on one thread, beside the C library's malloc and free."""
    for line in _cargo("bench", "--quiet", "-p", "vedette-memory").splitlines()[1:]:
        size, threads, pool, _, system = (float(number) for number in line.split())
        yield Measured(
            "memory",
            f"acquire and release in Rust, {size:.0f} bytes",
            "malloc",
            int(threads),
            pool * 1e-6,
            system * 1e-6,
            system / pool,
            0.0,
            {},
            limit_ms=1e-4,
        )
