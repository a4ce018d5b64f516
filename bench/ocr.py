"""Reading whole screens: Vedette, in float32 and by default, against RapidOCR on ONNX Runtime in float32."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from bench import screens
from vedette.bench.pairs import Record, Worker, compare

MODELS = "ppocr-v6-small"
PRECISIONS = ("float32", "auto")


def run(threads: list[int], pairs: int) -> Iterator[Record]:
    """Each screen on its own, then all six in one process for the total and the peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        written = screens.write(Path(folder))
        cases = [(path.stem, [(path, lines)]) for path, lines in written] + [("all six", written)]
        for count in threads:
            for (case, content), precision in product(cases, PRECISIONS):
                settings = {"images": [str(path) for path, _ in content], "threads": count, "models": MODELS}
                expected = [line for _, lines in content for line in lines]

                def recalls(ours: list[str], theirs: list[str], expected: list[str] = expected) -> str:
                    mine, peer = (screens.word_recall(expected, "\n".join(found)) for found in (ours, theirs))
                    return f"recall {100 * mine:.2f} / {100 * peer:.2f} %"

                yield compare(
                    "ocr",
                    f"{case} {precision}",
                    Worker("vedette-ocr", module="bench.worker", precision=precision, **settings),
                    Worker("rapidocr", module="bench.worker", **settings),
                    threads=count,
                    pairs=max(2, pairs // 5),
                    agree=recalls,
                )
