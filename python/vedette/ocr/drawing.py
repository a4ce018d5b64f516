"""Pages as pictures."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vedette.errors import InputError
from vedette.ocr.geometry import sizes
from vedette.ocr.source import open_image

if TYPE_CHECKING:
    from vedette.ocr.page import Line, Page

_GOLDEN_ANGLE = 0.381966
"""As a part of the colour circle: neighbours in a sequence of such steps are far apart."""


def draw(page: Page, image: Any, font: Any) -> NDArray[np.uint8]:
    """The image with its lines outlined, beside a sheet with their text."""
    pixels = open_image(image)
    height, width = pixels.shape[:2]
    if (width, height) != (page.width, page.height):
        raise InputError(
            f"the page was read from an image of {page.width} x {page.height} pixels, "
            f"this one has {width} x {height}"
        )
    picture = Image.new("RGB", (2 * width, height), "white")
    picture.paste(Image.fromarray(np.ascontiguousarray(pixels)), (0, 0))
    marks = Image.new("RGBA", (width, height))
    marker, writer = ImageDraw.Draw(marks), ImageDraw.Draw(picture)
    stroke = max(1, round(min(width, height) / 600))
    for number, line in enumerate(page.lines):
        color = tuple(
            round(255 * part) for part in colorsys.hsv_to_rgb(number * _GOLDEN_ANGLE % 1, 0.9, 0.75)
        )
        corners = [(float(x), float(y)) for x, y in line.box]
        marker.polygon(corners, fill=(*color, 40), outline=(*color, 255), width=stroke)
        shifted = [(x + width, y) for x, y in corners]
        writer.polygon(shifted, outline=color)
        _write(picture, line, width, font)
    picture.paste(marks, (0, 0), marks)
    return np.asarray(picture)


def _write(picture: Image.Image, line: Line, offset: int, font: Any) -> None:
    """Write the text of a line into its box, shifted to the right."""
    width, height = (max(1, round(float(side))) for side in sizes(line.box))
    size = max(6.0, 0.7 * height)
    face = _font(font, size)
    length = face.getlength(line.text)
    if length > width:
        face = _font(font, max(4.0, size * width / length))
    label = Image.new("L", (width, height))
    ImageDraw.Draw(label).text((0, height / 2), line.text, font=face, fill=255, anchor="lm")
    ahead = line.box[1] - line.box[0]
    angle = -float(np.degrees(np.arctan2(ahead[1], ahead[0])))
    if abs(angle) > 1:
        label = label.rotate(angle, expand=True, resample=Image.Resampling.BICUBIC)
    middle = line.box.mean(axis=0)
    place = (offset + round(float(middle[0]) - label.width / 2), round(float(middle[1]) - label.height / 2))
    picture.paste((0, 0, 0), place, label)


def _font(font: Any, size: float) -> Any:
    return ImageFont.load_default(size) if font is None else ImageFont.truetype(font, size)
