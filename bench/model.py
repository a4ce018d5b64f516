"""Models one by one: Vedette's engine against ONNX Runtime, float32."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench import reference_networks
from bench.pairs import Record, Worker, compare
from vedette import hub

# The largest difference that still counts as the same result, relative to the largest output value.
TOLERANCE = 1e-4


def run(threads: list[int], pairs: int) -> Iterator[Record]:
    """The reading models at the shapes that matter, then the reference networks."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        detector = hub.file("ppocr-v6-small", "detector")
        recogniser = hub.file("ppocr-v6-small", "recogniser")
        cases = [
            ("PP-OCRv6 detector 1088x1920", detector, [1, 3, 1088, 1920]),
            ("PP-OCRv6 recogniser 48x320", recogniser, [1, 3, 48, 320]),
            ("PP-OCRv6 recogniser 48x1600", recogniser, [1, 3, 48, 1600]),
        ]
        cases += [(name, path, [1, 3, 224, 224]) for name, path in reference_networks.write(scratch).items()]
        for count in threads:
            for case, path, shape in cases:
                settings = {"path": str(path), "shape": shape, "threads": count}
                ours = Worker("vedette-model", **settings, output=str(scratch / "ours.npy"))
                theirs = Worker("onnxruntime", **settings, output=str(scratch / "theirs.npy"))
                few = max(4, pairs // 4) if "detector" in case else pairs
                yield compare("model", case, ours, theirs, threads=count, pairs=few, agree=agreement)


def agreement(ours: str, theirs: str) -> str:
    """The largest difference between two saved outputs, which must be within the tolerance."""
    a, b = np.load(ours), np.load(theirs)
    difference = float(np.abs(a - b).max() / np.abs(b).max())
    if not difference <= TOLERANCE:
        raise SystemExit(f"the outputs differ by {difference:.1e} of the largest value: nothing to time")
    return f"differs by {difference:.0e}"
