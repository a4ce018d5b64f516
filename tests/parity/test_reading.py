"""How much of the text of rendered screens is read: against the truth, and RapidOCR with the same models."""

from __future__ import annotations

import logging
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rapidocr
from PIL import Image, ImageDraw, ImageFont

import vedette

PACKAGE = Path(rapidocr.__file__).parent / "models"
MODELS = {
    "detector": PACKAGE / "PP-OCRv6_det_small.onnx",
    "recogniser": PACKAGE / "PP-OCRv6_rec_small.onnx",
    "classifier": PACKAGE / "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
}

PROSE = [
    "Invoices are due within 30 days of delivery, unless agreed otherwise.",
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "Call +44 20 7946 0018 or write to billing@example.org for help.",
    "Total of the order: 1,284.50 EUR including 19 % tax and shipping.",
]
CODE = [
    "def normalise(values, scale=1.0):",
    "    total = sum(values) or 1",
    "    for index in range(len(values)):",
    "        values[index] *= scale / total",
    "    return sorted(values, reverse=True)",
]
TABLE = [
    ["Item", "Quantity", "Price", "Amount"],
    ["Keyboard", "2", "49.90", "99.80"],
    ["Monitor 27 inch", "1", "219.00", "219.00"],
    ["Cable USB-C", "5", "7.25", "36.25"],
    ["Shipping", "1", "5.95", "5.95"],
]
LIGHT = ((250, 250, 248), (30, 30, 34))
DARK = ((24, 26, 30), (216, 218, 222))

Colors = tuple[tuple[int, int, int], tuple[int, int, int]]


def screen(cells: list[list[str]], size: int, colors: Colors, columns: list[int]) -> Image.Image:
    """Rows of cells at their columns, in the font Pillow carries."""
    paper, ink = colors
    pitch = round(1.7 * size)
    image = Image.new("RGB", (1000, 40 + pitch * len(cells)), paper)
    canvas = ImageDraw.Draw(image)
    for number, row in enumerate(cells):
        for text, column in zip(row, columns, strict=False):
            indent = len(text) - len(text.lstrip())
            place = (20 + column + indent * size // 2, 20 + number * pitch)
            canvas.text(place, text.lstrip(), font=ImageFont.load_default(size), fill=ink)
    return image


def screens() -> list[tuple[str, Image.Image, str]]:
    found = []
    for size in (12, 18, 28):
        for name, colors in (("light", LIGHT), ("dark", DARK)):
            found.append((f"prose-{size}-{name}", screen([[line] for line in PROSE], size, colors, [0])))
    found.append(("prose-44", screen([["Delivered on time"], ["Order 10482 closed"]], 44, LIGHT, [0])))
    found.append(("code-16-dark", screen([[line] for line in CODE], 16, DARK, [0])))
    found.append(("table-16", screen(TABLE, 16, LIGHT, [0, 300, 500, 700])))
    texts = {"prose-44": "Delivered on time Order 10482 closed", "code-16-dark": " ".join(CODE)}
    texts["table-16"] = " ".join(cell for row in TABLE for cell in row)
    return [(name, image, texts.get(name, " ".join(PROSE))) for name, image in found]


@cache
def reader(*, classify_angle: bool = False) -> vedette.ocr.Reader:
    return vedette.ocr.Reader(MODELS, threads=2, classify_angle=classify_angle)


@cache
def peer(*, use_cls: bool = False) -> Any:
    logging.disable(logging.CRITICAL)
    return rapidocr.RapidOCR(
        params={"Global.use_cls": use_cls, "EngineConfig.onnxruntime.intra_op_num_threads": 2}
    )


def hits(expected: str, found: str) -> int:
    return (Counter(expected.split()) & Counter(found.split())).total()


def test_screens_are_read_as_well_as_by_rapidocr() -> None:
    ours = theirs = total = 0
    missed = []
    for name, image, text in screens():
        page = reader().read(image)
        read = hits(text, page.text)
        ours += read
        result = peer()(np.asarray(image)[:, :, ::-1].copy())
        theirs += hits(text, " ".join(result.txts or ()))
        total += len(text.split())
        if read < len(text.split()):
            missed.append((name, sorted((Counter(text.split()) - Counter(page.text.split())).elements())))
    # Half a point of word recall is what the resampling of crops may cost.
    assert ours / total >= theirs / total - 0.005, missed
    assert ours / total >= 0.97, missed


def test_the_cells_of_a_table_are_read_row_by_row() -> None:
    page = reader().read(screen(TABLE, 20, LIGHT, [0, 300, 500, 700]))
    assert [[line.text for line in row] for row in page.rows] == TABLE


def test_boxes_lie_around_their_text() -> None:
    image = screen([["Delivered on time"]], 32, LIGHT, [100])
    (line,) = reader().read(image).lines
    ink = np.argwhere(np.asarray(image.convert("L")) < 128)
    top, left = ink.min(axis=0)
    bottom, right = ink.max(axis=0)
    (x0, y0), (x1, y1) = line.box[0], line.box[2]
    # The detector works at multiples of 32 and expands its boxes by about half a letter.
    assert left - 20 < x0 <= left + 4
    assert right - 4 <= x1 < right + 20
    assert top - 20 < y0 <= top + 4
    assert bottom - 4 <= y1 < bottom + 20
    assert [word.text for word in line.words] == ["Delivered", "on", "time"]
    assert line.score > 0.9


@pytest.mark.parametrize("turn", [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270])
def test_text_turned_sideways_is_read(turn: Image.Transpose) -> None:
    image = screen([["Delivered on time"]], 32, LIGHT, [100]).transpose(turn)
    page = reader(classify_angle=True).read(image)
    assert page.text == "Delivered on time"


def test_text_upside_down_is_read_with_the_angle_classifier() -> None:
    image = screen([[line] for line in PROSE[:2]], 28, LIGHT, [0]).transpose(Image.Transpose.ROTATE_180)
    page = reader(classify_angle=True).read(image)
    assert hits(" ".join(PROSE[:2]), page.text) >= 20
    # From where the text begins: at the right.
    assert page.lines[0].box[0][0] > page.lines[0].box[1][0]


def test_tilted_text_is_straightened() -> None:
    image = screen([[line] for line in PROSE], 24, LIGHT, [40]).rotate(
        7, resample=Image.Resampling.BICUBIC, expand=True, fillcolor=LIGHT[0]
    )
    page = reader().read(image)
    assert hits(" ".join(PROSE), page.text) >= 0.95 * len(" ".join(PROSE).split())
    assert [line.text.split()[0] for line in page.lines] == [line.split()[0] for line in PROSE]


def test_a_single_line_without_margins_is_read() -> None:
    font = ImageFont.load_default(24)
    left, top, right, bottom = font.getbbox(PROSE[1])
    image = Image.new("RGB", (round(right - left) + 4, round(bottom - top) + 4), "white")
    ImageDraw.Draw(image).text((2 - left, 2 - top), PROSE[1], font=font, fill="black")
    assert hits(PROSE[1], reader().read(image).text) >= 12


def test_all_kinds_of_images_read_the_same(tmp_path: Path) -> None:
    image = screen([["Delivered on time"]], 28, LIGHT, [0])
    path = tmp_path / "screen.png"
    image.save(path)
    rgb = np.asarray(image)
    transparent = image.convert("RGBA")
    transparent.putalpha(image.convert("L").point(lambda value: 255 if value < 200 else 0))
    kinds = [str(path), path, path.read_bytes(), image, rgb, rgb[:, :, 0], image.convert("L"), transparent]
    assert {reader().read(kind).text for kind in kinds} == {"Delivered on time"}


def test_an_empty_page_has_no_lines() -> None:
    page = reader().read(np.full((300, 400, 3), 255, np.uint8))
    assert page.lines == ()
    assert page.text == ""
    assert {"decode", "detect", "total"} <= page.timings.keys()


def test_one_reader_serves_many_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    image = screen([[line] for line in PROSE], 18, LIGHT, [0])
    expected = reader().read(image).text
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: reader().read(image).text, range(4))) == {expected}
