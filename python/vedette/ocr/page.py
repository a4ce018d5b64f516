"""What was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.ocr.geometry import Quads, between

__all__ = ["Line", "Page", "Word"]


@dataclass(frozen=True, slots=True, eq=False)
class Word:
    """A word of a line.

    Attributes
    ----------
    text
        Its characters.
    box
        Its corners as x, y in pixels, shape ``(4, 2)``, as accurate as the steps of the recogniser.
    """

    text: str
    box: Quads


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A line of text.

    Attributes
    ----------
    text
        Its characters.
    score
        Mean score of its characters, 0 to 1.
    box
        Its corners as x, y in pixels, shape ``(4, 2)``: from where the text begins, clockwise.
    row
        Number of the row it stands in; the cells of a row of a table share it.
    positions
        Where along the box each character lies, 0 to 1.
    """

    text: str
    score: float
    box: Quads
    row: int
    positions: tuple[float, ...] = field(default=(), repr=False)

    @property
    def words(self) -> tuple[Word, ...]:
        """The line split at its spaces."""
        if len(self.positions) != len(self.text):
            return (Word(self.text, self.box),)
        runs = [
            list(run)
            for is_space, run in groupby(range(len(self.text)), lambda i: self.text[i].isspace())
            if not is_space
        ]
        words = []
        for number, run in enumerate(runs):
            # Words meet halfway between their outermost characters; the first and the last fill the box.
            start, end = 0.0, 1.0
            if number > 0:
                start = (self.positions[runs[number - 1][-1]] + self.positions[run[0]]) / 2
            if number + 1 < len(runs):
                end = (self.positions[run[-1]] + self.positions[runs[number + 1][0]]) / 2
            words.append(Word(self.text[run[0] : run[-1] + 1], between(self.box, start, end)))
        return tuple(words)


@dataclass(frozen=True, slots=False, eq=False)
class Page:
    """The text of an image, in reading order.

    Attributes
    ----------
    lines
        Its lines.
    width, height
        Of the image, in pixels.
    timings
        Seconds spent in each stage; ``total`` is their whole.
    """

    lines: tuple[Line, ...]
    width: int
    height: int
    timings: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def rows(self) -> tuple[tuple[Line, ...], ...]:
        """The lines grouped by row."""
        return tuple(tuple(row) for _, row in groupby(self.lines, lambda line: line.row))

    @property
    def text(self) -> str:
        """All text: a line a row, tabs between lines that stand side by side."""
        return "\n".join("\t".join(line.text for line in row) for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, strings, lists and dicts, ready for JSON."""
        return {
            "width": self.width,
            "height": self.height,
            "text": self.text,
            "lines": [
                {
                    "text": line.text,
                    "score": round(line.score, 5),
                    "row": line.row,
                    "box": [[round(float(value), 2) for value in corner] for corner in line.box],
                }
                for line in self.lines
            ],
            "timings": {stage: round(seconds, 6) for stage, seconds in self.timings.items()},
        }

    def to_hocr(self, *, title: str = "") -> str:
        """The page as hOCR 1.2 (XHTML), with lines and words.

        Parameters
        ----------
        title
            Title of the document and name of the image in it.
        """
        from vedette.ocr.hocr import to_hocr

        return to_hocr([(title, self)])

    def draw(self, image: Any, *, font: Any = None) -> NDArray[np.uint8]:
        """The image with its lines outlined, beside a sheet with their text where it was found.

        Parameters
        ----------
        image
            What was read: a path, bytes, an array or a PIL image.
        font
            Path of a font file for the text. The built-in one knows Latin, Greek and Cyrillic letters.

        Returns
        -------
        A uint8 array of shape ``(height, 2 * width, 3)``.
        """
        from vedette.ocr.drawing import draw

        return draw(self, image, font)
