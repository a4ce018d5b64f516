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
    r"bilinear (?P<width>\d+)x(?P<height>\d+) to (?P<size>\d+)x\d+ (?P<isa>\w+) *: (?P<ours>[\d.]+) ms, "
    r"fast_image_resize (?P<peer>[\d.]+) ms, (?P<speedup>[\d.]+)x"
)


def _cargo(*arguments: str) -> str:
    done = subprocess.run(
        ["cargo", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    return done.stdout


def resizing() -> Iterator[Measured]:
    """1080p to 224 and 640, antialiased, on one thread; both sides in turn, at each level."""
    printed = _cargo("run", "--release", "--quiet", "-p", "vedette-image", "--example", "compare_resize")
    sizes: dict[int, list[re.Match[str]]] = {}
    for found in TIMES.finditer(printed):
        sizes.setdefault(int(found["size"]), []).append(found)
    for size, levels in sizes.items():
        # Levels come in order, the best last.
        best = levels[-1]
        width, height = int(best["width"]), int(best["height"])
        yield Measured(
            "image",
            f"resize {height}p to {size}, antialias bilinear",
            "fast_image_resize",
            1,
            float(best["ours"]),
            float(best["peer"]),
            float(best["speedup"]),
            3 * (width * height + size * size) / 1e6 / copy_speed(),
            {level["isa"]: float(level["ours"]) for level in levels},
            target=1.3 if size in (224, 640) else None,
        )


def blocks() -> Iterator[Measured]:
    """A million times acquire and release, each thread by itself, beside the C library's malloc and free."""
    for line in _cargo("bench", "--quiet", "-p", "vedette-memory", "--bench", "pool").splitlines()[1:]:
        size, threads, pool, _, system = (float(number) for number in line.split())
        yield Measured(
            "memory",
            f"a million blocks in Rust, {size:.0f} bytes",
            "malloc",
            int(threads),
            pool,
            system,
            system / pool,
            0.0,
            {},
            limit_ms=100,
        )
