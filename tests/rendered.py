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
