"""Six 1920x1080 screens full of text, 11 to 124 lines each, light and dark, in the font Pillow carries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vedette.bench.recording import WORDS

SIZE = (1920, 1080)


@dataclass(frozen=True)
class Layout:
    """How one screen is filled."""

    name: str
    size: int
    columns: int
    pitch: float
    dark: bool


LAYOUTS = (
    Layout("headline", 44, 1, 2.0, False),
    Layout("article", 24, 1, 1.6, False),
    Layout("dark-article", 20, 1, 1.7, True),
    Layout("table", 17, 4, 1.9, False),
    Layout("dark-table", 14, 3, 1.8, True),
    Layout("small", 12, 2, 1.35, False),
)


def draw(layout: Layout, seed: int) -> tuple[Image.Image, list[str]]:
    """A screen and the lines of text on it."""
    rng = np.random.default_rng(seed)
    back, fore = ((24, 26, 30), (214, 216, 220)) if layout.dark else ((252, 252, 250), (28, 28, 32))
    image = Image.new("RGB", SIZE, back)
    canvas = ImageDraw.Draw(image)
    font = ImageFont.load_default(layout.size)
    pitch, gutter = layout.size * layout.pitch, 60
    width = (SIZE[0] - gutter * (layout.columns + 1)) / layout.columns
    lines = []
    for row in range(int((SIZE[1] - 60) // pitch)):
        for column in range(layout.columns):
            line = ""
            limit = width * (0.5 + 0.5 * rng.random())
            while True:
                word = str(rng.choice(WORDS))
                if rng.random() < 0.12:
                    word = f"{rng.integers(10, 99999)}"
                if canvas.textlength(f"{line} {word}", font=font) > limit:
                    break
                line = f"{line} {word}".strip()
            canvas.text((gutter + column * (width + gutter), 30 + row * pitch), line, font=font, fill=fore)
            lines.append(line)
    return image, lines


def write(folder: Path) -> list[tuple[Path, list[str]]]:
    """Write the screens as PNG; each path with its lines."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for seed, layout in enumerate(LAYOUTS):
        image, lines = draw(layout, seed)
        path = folder / f"{layout.name}.png"
        image.save(path, compress_level=1)
        written.append((path, lines))
    return written


def word_recall(expected: list[str], found: str) -> float:
    """The share of expected words that were found, each as often as it stands there."""
    remaining: dict[str, int] = {}
    for word in found.split():
        remaining[word] = remaining.get(word, 0) + 1
    words = " ".join(expected).split()
    hits = 0
    for word in words:
        if remaining.get(word, 0) > 0:
            remaining[word] -= 1
            hits += 1
    return hits / len(words)
