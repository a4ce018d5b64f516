"""Reading whole screens: Vedette against RapidOCR on ONNX Runtime, with the same models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import screens
from vedette.bench.pairs import Record, Worker, compare

MODELS = "ppocr-v6-small"


def run(threads: list[int], pairs: int) -> Iterator[Record]:
    """Each screen on its own, then all six in one process for the total and the peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        written = screens.write(Path(folder))
        cases = [(path.stem, [(path, lines)]) for path, lines in written] + [("all six", written)]
        for count in threads:
            for case, content in cases:
                settings = {"images": [str(path) for path, _ in content], "threads": count, "models": MODELS}
                expected = [line for _, lines in content for line in lines]

                def recalls(ours: list[str], theirs: list[str], expected: list[str] = expected) -> str:
                    mine, peer = (screens.word_recall(expected, "\n".join(found)) for found in (ours, theirs))
                    return f"recall {100 * mine:.2f} / {100 * peer:.2f} %"

                yield compare(
                    "ocr",
                    case,
                    Worker("vedette-ocr", module="bench.worker", **settings),
                    Worker("rapidocr", module="bench.worker", **settings),
                    threads=count,
                    pairs=max(2, pairs // 5),
                    agree=recalls,
                )
