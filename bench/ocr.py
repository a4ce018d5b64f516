"""Reading whole screens: Vedette against RapidOCR on ONNX Runtime and on OpenVINO, as they come."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import screens
from vedette.bench.pairs import Record, Worker, compare

MODELS = "ppocr-v6-small"


class Row(NamedTuple):
    """A precision beside a peer, and the most that is wanted of the CPU's and of the peak memory's ratio."""

    precision: str
    peer: str
    cpu: float
    peak: float | None = None


EACH = (Row("float32", "rapidocr", 0.8, 1 / 3),)
"""What is measured of every screen by itself."""

TOGETHER = (
    *EACH,
    Row("auto", "rapidocr", 1 / 5),
    Row("auto", "rapidocr-openvino", 0.4),
    Row("fast", "rapidocr", 1 / 6),
    Row("fast", "rapidocr-openvino", 1 / 3),
)
"""What is measured of all six in one process."""


def run(threads: list[int], pairs: int, only: str = "") -> Iterator[Record]:
    """Each screen on its own, then all six in one process; cases with ``only`` in the name."""
    with tempfile.TemporaryDirectory() as folder:
        written = screens.write(Path(folder))
        cases = [(path.stem, [(path, lines)], EACH) for path, lines in written]
        cases.append(("all six", written, TOGETHER))
        rows = [(f"{case} {row.precision}", content, row) for case, content, rows in cases for row in rows]
        for count in threads:
            for case, content, row in rows:
                if only not in case:
                    continue
                settings = {"images": [str(path) for path, _ in content], "threads": count, "models": MODELS}
                expected = [line for _, lines in content for line in lines]

                def recalls(ours: list[str], theirs: list[str], expected: list[str] = expected) -> str:
                    mine, peer = (screens.word_recall(expected, "\n".join(found)) for found in (ours, theirs))
                    return f"recall {100 * mine:.2f} / {100 * peer:.2f} %"

                yield compare(
                    "ocr",
                    case,
                    Worker("vedette-ocr", module="bench.worker", precision=row.precision, **settings),
                    Worker(row.peer, module="bench.worker", **settings),
                    threads=count,
                    pairs=max(2, pairs // 5),
                    agree=recalls,
                    cpu_target=row.cpu,
                    peak_target=row.peak,
                )
