"""Rendered screens whose text is known, for tests of watching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FONT = ImageFont.load_default(20)
PITCH = 34
SIZE = (640, 400)
HEADER, FOOTER = 44, 40

DOCUMENTS = {
    "Minutes": [
        "Meeting moved to Thursday",
        "Room 204 second floor",
        "Bring the signed contract",
        "and two spare batteries",
        "The budget was approved",
        "Next review in January",
        "Printer on level three",
        "needs a new drum unit",
        "Visitors register first",
        "Keys stay at reception",
        "Lunch is served at noon",
        "Parking lot B is closed",
        "Call the vendor today",
        "Order forty more chairs",
        "Archive the old files",
        "Turn off the lights",
    ],
    "Invoice": [
        "Keyboard 2 pieces 99.80",
        "Monitor 27 inch 219.00",
        "Cable five metres 36.25",
        "Shipping and tax 5.95",
        "Total amount 361.00",
        "Payment within 30 days",
        "Thank you for the order",
    ],
}


@dataclass
class Desk:
    """A window with a title, a document that scrolls, and a line that is typed into."""

    document: str = "Minutes"
    scroll: int = 0
    typed: str = ""
    clock: str = "12:00"
    lines: dict[str, list[str]] = field(default_factory=lambda: DOCUMENTS)

    def draw(self) -> NDArray[np.uint8]:
        """The screen as RGB."""
        width, height = SIZE
        image = Image.new("RGB", SIZE, (250, 250, 248))
        canvas = ImageDraw.Draw(image)
        for number, line in enumerate(self.lines[self.document]):
            canvas.text((30, self._top(number)), line, font=FONT, fill=(20, 20, 30))
        canvas.rectangle((0, 0, width, HEADER), fill=(40, 44, 60))
        canvas.text((16, 10), self.document, font=FONT, fill=(240, 240, 240))
        canvas.text((width - 80, 10), self.clock, font=FONT, fill=(240, 240, 240))
        canvas.rectangle((0, height - FOOTER, width, height), fill=(230, 232, 236))
        canvas.text((16, height - FOOTER + 8), self.typed, font=FONT, fill=(0, 0, 0))
        return np.asarray(image).copy()

    def _top(self, number: int) -> int:
        return HEADER + 14 + number * PITCH - self.scroll

    def words(self) -> list[str]:
        """The words of all lines that can be seen whole."""
        shown = [
            line
            for number, line in enumerate(self.lines[self.document])
            if self._top(number) >= HEADER and self._top(number) + 26 <= SIZE[1] - FOOTER
        ]
        return " ".join([self.document, self.clock, *shown, self.typed]).split()


def write(folder: Path, frames: Sequence[NDArray[np.uint8]]) -> Path:
    """The frames as numbered PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"frame-{number}.png", compress_level=1)
    return folder


@dataclass
class Sheet:
    """A page of any look: columns of known words at a size and pitch, light or dark, with or without bars."""

    size: int
    pitch: int
    dark: bool
    bars: bool
    rows: list[list[str]]

    @classmethod
    def random(cls, rng: np.random.Generator) -> Sheet:
        """One of many."""
        words = sorted({word for lines in DOCUMENTS.values() for line in lines for word in line.split()})
        size, columns = int(rng.integers(14, 24)), int(rng.integers(1, 3))
        # So few that columns never touch.
        most = max(1, int((SIZE[0] - 40) / columns / size / 6))
        rows = [
            [" ".join(rng.choice(words, int(rng.integers(1, most + 1)))) for _ in range(columns)]
            for _ in range(60)
        ]
        return cls(size, round(size * rng.uniform(1.4, 2.0)), rng.random() < 0.4, rng.random() < 0.6, rows)

    def word(self, rng: np.random.Generator) -> str:
        """One of its words."""
        return str(rng.choice(self.rows[int(rng.integers(len(self.rows)))][0].split()))

    def draw(self, scroll: int, typed: str = "", window: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """The page scrolled by so many pixels, as RGB; with a small window over it, left and top given."""
        width, height = SIZE
        back, fore = ((24, 26, 30), (214, 216, 220)) if self.dark else ((252, 252, 250), (28, 28, 32))
        image = Image.new("RGB", SIZE, back)
        canvas, font = ImageDraw.Draw(image), ImageFont.load_default(self.size)
        first = HEADER if self.bars else 0
        for number, row in enumerate(self.rows):
            top = first + 14 + number * self.pitch - scroll
            if -2 * self.size < top < height:
                for column, text in enumerate(row):
                    place = (24 + column * (width - 40) // len(row), top)
                    canvas.text(place, text, font=font, fill=fore)
        if self.bars:
            canvas.rectangle((0, 0, width, HEADER), fill=(52, 58, 78))
            canvas.text((16, 12), "Editor", font=FONT, fill=(240, 240, 240))
            canvas.rectangle((0, height - FOOTER, width, height), fill=(228, 230, 236))
            canvas.text((16, height - FOOTER + 8), typed, font=FONT, fill=(0, 0, 0))
        if window is not None:
            left, top = window
            canvas.rectangle((left, top, left + 240, top + 84), fill=(255, 250, 220), outline=(90, 90, 90))
            canvas.text((left + 14, top + 12), "Call the vendor", font=FONT, fill=(10, 10, 10))
            canvas.text((left + 14, top + 46), "before noon", font=FONT, fill=(10, 10, 10))
        return np.asarray(image).copy()
