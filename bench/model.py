"""Models one by one: Vedette's engine against ONNX Runtime, float32, and without strips."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench import reference_networks, screens
from vedette import hub
from vedette.bench.pairs import Record, Worker, compare

# The largest difference that still counts as the same result, relative to the largest output value.
TOLERANCE = 1e-4


def run(threads: list[int], pairs: int, only: str = "") -> Iterator[Record]:
    """Reading models at the shapes that matter, then reference networks; cases with ``only`` in the name."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        detector = hub.file("ppocr-v6-small", "detector")
        recogniser = hub.file("ppocr-v6-small", "recogniser")
        noise = np.random.default_rng(1).standard_normal((1, 3, 224, 224), dtype=np.float32)
        cases = [
            ("PP-OCRv6 detector 1088x1920", detector, text(1088, 1920), "onnxruntime", 1.0),
            ("PP-OCRv6 detector in strips", detector, text(1088, 1920), "vedette-whole-maps", None),
            ("PP-OCRv6 recogniser 48x320", recogniser, text(48, 320), "onnxruntime", 1.0),
            ("PP-OCRv6 recogniser 48x1600", recogniser, text(48, 1600), "onnxruntime", 1.0),
        ]
        references = reference_networks.write(scratch)
        cases += [(name, path, noise, "onnxruntime", 1.25) for name, path in references.items()]
        for count in threads:
            for case, path, x, peer, target in cases:
                if only not in case:
                    continue
                np.save(scratch / "input.npy", x)
                settings = {"path": str(path), "x": str(scratch / "input.npy"), "threads": count}
                ours = Worker(
                    "vedette-model", module="bench.worker", **settings, output=str(scratch / "ours.npy")
                )
                theirs = Worker(peer, module="bench.worker", **settings, output=str(scratch / "theirs.npy"))
                few = max(4, pairs // 4) if path == detector else pairs
                yield compare(
                    "model",
                    case,
                    ours,
                    theirs,
                    threads=count,
                    pairs=few,
                    agree=agreement,
                    cpu_target=target,
                )


def text(height: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A piece of a screen of text, as the reading models take it: on noise they put out next to nothing."""
    screen, _ = screens.draw(screens.LAYOUTS[0 if height == 48 else 1], 0)
    pixels = np.asarray(screen.convert("RGB"))
    top, left = (int(np.argmax((pixels < 128).any((2, 1 - axis)))) for axis in (0, 1))
    piece = pixels[max(0, top - 4) :, max(0, left - 4) :][:height, :width] if height == 48 else pixels
    rows, columns = height - piece.shape[0], width - piece.shape[1]
    padded = np.pad(piece, ((0, rows), (0, columns), (0, 0)), mode="edge")
    return np.ascontiguousarray(padded.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)


def agreement(ours: str, theirs: str) -> str:
    """The largest difference between two saved outputs, which must be within the tolerance."""
    a, b = np.load(ours), np.load(theirs)
    difference = float(np.abs(a - b).max() / np.abs(b).max())
    if not difference <= TOLERANCE:
        raise SystemExit(f"the outputs differ by {difference:.1e} of the largest value: nothing to time")
    return f"differs by {difference:.0e}"
