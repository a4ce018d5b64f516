"""What reading in fewer bits costs: ``python -m bench.recall [FOLDER] [--precision float32 auto fast]``.

Screens and worn pages are drawn, with other seeds than those that the recipes are made from; FOLDER holds
real scans with their text as :mod:`bench.reading` takes them. A row for each precision: the share of the true
words, and of runs of letters and digits, that are found, and the points to the first precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import vedette
from bench import reading, scans, screens
from vedette.ocr import Reader

Sheet = tuple[Any, str]

PRECISIONS = ("float32", "bfloat16", "auto", "fast")
SCREEN_SEEDS = range(4)
SCANS = 40


def drawn_screens() -> Iterator[Sheet]:
    """Every layout, several times."""
    for seed in SCREEN_SEEDS:
        for at, layout in enumerate(screens.LAYOUTS):
            image, lines = screens.draw(layout, 10 * seed + at)
            yield np.asarray(image), "\n".join(lines)


def drawn_scans() -> Iterator[Sheet]:
    """Worn pages."""
    for page, lines in scans.pages(SCANS, seed=2):
        yield page, "\n".join(lines)


def real_scans(folder: Path) -> Iterator[Sheet]:
    """The images of a folder that have their text beside them."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in reading.SUFFIXES and path.with_suffix(".csv").exists():
            yield vedette.image.load(path), "\n".join(reading.true_lines(path.with_suffix(".csv")))


def read(sheets: list[Sheet], precision: str, models: str, threads: int | None) -> list[str]:
    """The text found on each sheet."""
    reader = Reader(models, precision=precision, threads=threads)  # type: ignore[arg-type]
    return [reader.read(image).text for image, _ in sheets]


def main() -> None:
    """Read everything in each precision and print a row for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="real scans")
    parser.add_argument("--models", default="ppocr-v6-small")
    parser.add_argument("--precision", nargs="+", default=PRECISIONS)
    parser.add_argument("--threads", type=int)
    chosen = parser.parse_args()
    sets = {"drawn screens": list(drawn_screens()), "drawn scans": list(drawn_scans())}
    if chosen.folder is not None:
        sets[str(chosen.folder.name)] = list(real_scans(chosen.folder))
    for name, sheets in sets.items():
        expected = [text for _, text in sheets]
        count = sum(len(reading.words(text)) for text in expected)
        print(f"{name}: {len(sheets)} images, {count} words, {chosen.models}")
        print(f"{'':12}{'words':>9}{'points':>8}{'tokens':>9}{'points':>8}")
        first: list[float] = []
        for precision in chosen.precision:
            found = read(sheets, precision, chosen.models, chosen.threads)
            shares = [
                100 * reading.recall(expected, found, split) for split in (reading.words, reading.tokens)
            ]
            first = first or shares
            cells = "".join(
                f"{share:8.2f}%{share - base:+8.2f}" for share, base in zip(shares, first, strict=True)
            )
            print(f"{precision:12}{cells}", flush=True)


if __name__ == "__main__":
    main()
