"""Pages that look scanned, in the font Pillow carries: skewed, faint, blurred and noisy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from vedette.bench.recording import WORDS

_CAPITALS = 0.4
"""Share of lines set in capitals, as tills print them."""

_BILEVEL = 0.4
"""Share of pages that come with hardly any grays."""


Page = tuple[NDArray[np.uint8], list[str]]


def pages(count: int, seed: int = 0) -> Iterator[Page]:
    """So many pages as RGB arrays with their text, each of another size, typeface size, paper and wear."""
    for number in range(count):
        yield page(np.random.default_rng([seed, number]))


def page(random: np.random.Generator) -> Page:
    """One page, and what stands on it."""
    width, height = int(random.integers(420, 1100)), int(random.integers(600, 1500))
    paper, ink = int(random.integers(205, 256)), int(random.integers(0, 110))
    image = Image.new("L", (width, height), paper)
    canvas = ImageDraw.Draw(image)
    written = []
    top = random.integers(20, 80)
    while top < height - 60:
        size = int(random.choice([13, 15, 18, 22, 27, 34, 46], p=[0.2, 0.2, 0.2, 0.15, 0.12, 0.08, 0.05]))
        font = ImageFont.load_default(size)
        left = random.integers(15, 70)
        for text in columns(random):
            room = width - left - 10
            if canvas.textlength(text, font=font) < room:
                stroke = int(random.random() < 0.15)
                canvas.text((left, top), text, font=font, fill=ink, stroke_width=stroke, stroke_fill=ink)
                left += canvas.textlength(text, font=font) + random.integers(20, 200)
                written.append(text)
        top += size * random.uniform(1.15, 2.2)
    return worn(image, paper, random), written


def columns(random: np.random.Generator) -> list[str]:
    """What stands in one row: words, numbers, amounts, dates, or a few of them side by side."""
    kind = random.random()
    words = " ".join(str(random.choice(WORDS)) for _ in range(random.integers(1, 7)))
    words = words.upper() if random.random() < _CAPITALS else words.capitalize()
    amount = f"{random.integers(0, 500)}.{random.integers(0, 100):02d}"
    if kind < 0.4:
        return [words]
    if kind < 0.7:
        return [words, amount]
    if kind < 0.8:
        return [
            f"{random.integers(1, 29):02d}/{random.integers(1, 13):02d}/{random.integers(2010, 2030)}",
            words,
        ]
    if kind < 0.9:
        return [f"{words}:", f"{random.integers(10**3, 10**9)}"]
    marks = "".join(random.choice(list("-=*#.:,/()[]&%$@+'\"!?;")) for _ in range(3))
    return [f"{words[:12]} {marks} {amount}", f"x {random.integers(1, 20)}", amount]


def worn(image: Image.Image, paper: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """A page as a scanner gives it back: turned a little, out of focus, unevenly lit, grainy, compressed."""
    angle = random.normal(0, 0.8)
    turned = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=paper)
    blurred = turned.filter(ImageFilter.GaussianBlur(random.uniform(0.0, 1.3)))
    pixels = np.asarray(blurred, np.float32)
    rows, columns_ = np.mgrid[-1 : 1 : pixels.shape[0] * 1j, -1 : 1 : pixels.shape[1] * 1j]
    pixels = pixels + random.normal(0, 12) * rows + random.normal(0, 12) * columns_
    pixels += random.normal(0, random.uniform(0, 14), pixels.shape)
    if random.random() < _BILEVEL:
        # Black and white, as fax machines and office scanners make it; strokes break where ink is thin.
        pixels = (pixels - paper + random.uniform(20, 90)) * random.uniform(2, 12) + 128
    tint = 1 - np.abs(random.normal(0, 0.04, 3))
    return (pixels[:, :, None] * tint).clip(0, 255).astype(np.uint8)
