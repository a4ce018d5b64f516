"""Reading scans with known text: ``python -m bench.reading FOLDER [--threads 1] [--precision auto fast]``.

The folder holds images and, for each, a CSV file of the same name with rows of eight corner coordinates and
the text of a line, as in the ICDAR 2019 SROIE receipts. Vedette and RapidOCR read them with the same models,
each in a process of its own. Words stand between spaces, tokens are runs of letters and digits, both
without regard to case; recall is the share of the true ones found, each as often as it stands there.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from vedette.bench.pairs import Worker

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

Split = Callable[[str], list[str]]


def true_lines(path: Path) -> list[str]:
    """The lines of a CSV file; their text may contain commas."""
    rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [row.split(",", 8)[8] for row in rows if row.count(",") >= 8]


def words(text: str) -> list[str]:
    """What stands between spaces."""
    return text.casefold().split()


def tokens(text: str) -> list[str]:
    """Runs of letters and digits."""
    return re.findall(r"[^\W_]+", text.casefold())


def found_of(expected: str, found: str, split: Split) -> tuple[int, int]:
    """How many of the expected pieces were found, and how many there are."""
    wanted = Counter(split(expected))
    return (wanted & Counter(split(found))).total(), wanted.total()


def recall(expected: list[str], found: list[str], split: Split) -> float:
    """Over all images together."""
    pairs = [found_of(truth, text, split) for truth, text in zip(expected, found, strict=True)]
    return sum(hits for hits, _ in pairs) / max(1, sum(total for _, total in pairs))


def main() -> None:
    """Read with both sides in turn and print a row for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", default="ppocr-v6-small")
    parser.add_argument("--precision", nargs="+", default=["auto"], help="of Vedette, one after the other")
    parser.add_argument("--each", action="store_true", help="a row for every image too")
    chosen = parser.parse_args()
    images = sorted(
        path
        for path in chosen.folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.with_suffix(".csv").exists()
    )
    if not images:
        parser.error(f"no images with CSV files beside them in {chosen.folder}")
    expected = ["\n".join(true_lines(path.with_suffix(".csv"))) for path in images]
    settings = {"images": [str(path) for path in images], "threads": chosen.threads, "models": chosen.models}
    print(
        f"{len(images)} images, {sum(len(words(text)) for text in expected)} words, threads: {chosen.threads}"
    )
    print(f"{'':14}{'words':>9}{'tokens':>9}{'CPU s':>9}{'wall s':>9}{'peak MB':>9}")
    read: dict[str, list[str]] = {}
    sides = [(name, "vedette-ocr", {"precision": name}) for name in chosen.precision]
    for side, kind, more in [*sides, ("rapidocr", "rapidocr", {})]:
        worker = Worker(kind, module="bench.worker", **settings, **more)
        read[side] = worker.result()
        wall, cpu = worker.turn()
        peak = worker.finish()
        shares = (100 * recall(expected, read[side], split) for split in (words, tokens))
        row = "".join(f"{share:8.2f}%" for share in shares)
        print(f"{side:14}{row}{cpu:9.2f}{wall:9.2f}{peak:9.0f}", flush=True)
    if chosen.each:
        for number, path in enumerate(images):
            shares = [100 * recall([expected[number]], [read[side][number]], words) for side in read]
            print(f"{path.name:30}" + "".join(f"{share:8.2f}%" for share in shares))


if __name__ == "__main__":
    main()
