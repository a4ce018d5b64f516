"""Reading only what changed gives the words that reading whole frames gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from rendered import Desk, Sheet

from vedette.ocr import Change, IncrementalReader, Page, Reader
from vedette.ocr.detector import DetectorOptions
from vedette.sources import Frame
from vedette.watch.gate import Gate


@pytest.fixture(scope="module")
def reader() -> Reader:
    # At their own size, for speed; by default small images are looked at enlarged.
    return Reader(threads=1, detector=DetectorOptions(shortest_side=320))


class Sequence:
    """Frames through the gate to an incremental reader."""

    def __init__(self, reader: Reader) -> None:
        self.incremental = IncrementalReader(reader)
        self._gate = Gate()
        self._index = 0

    def read(self, pixels: NDArray[np.uint8]) -> Page:
        frame = Frame((pixels,), "rgb", self._index, 0.0)
        change = self._gate.examine(frame) or Change(np.zeros((25, 40), np.bool_), 16)
        page = self.incremental.read(pixels, change if self._index else None)
        self._gate.accept(frame)
        self._index += 1
        return page


def desks() -> Iterator[tuple[str, Desk]]:
    desk = Desk()
    yield "first", desk
    for typed in ["h", "hello world", "hello world again"]:
        desk = replace(desk, typed=typed)
        yield f"typed {typed}", desk
    for scroll in [34, 85, 136, 34]:
        desk = replace(desk, scroll=scroll)
        yield f"scrolled to {scroll}", desk
    yield "clock", (desk := replace(desk, clock="12:01"))
    yield "deleted", (desk := replace(desk, typed="hello"))
    yield "other window", replace(desk, document="Invoice", scroll=0, typed="")
    yield "back", (desk := replace(desk, clock="12:02"))
    yield "nothing", desk


def missing(expected: list[str], page: Page) -> Counter[str]:
    return Counter(expected) - Counter(page.text.split())


def test_a_session_is_read_as_its_frames_are(reader: Reader) -> None:
    sequence = Sequence(reader)
    for name, desk in desks():
        pixels = desk.draw()
        page, whole = sequence.read(pixels), reader.read(pixels)
        # Lines cut by the edge of the window have no truth: two readings of half a letter may differ.
        words = desk.words()
        assert missing(words, whole) == Counter(), name
        assert missing(words, page) == Counter(), name
        assert len(page.lines) == pytest.approx(len(whole.lines), abs=1), name
    counts = sequence.incremental.counts
    assert counts.moved >= 15
    assert counts.recognised < 40, "scrolled and remembered lines are read once"
    # The first frame and the other window; the rest in parts.
    assert counts.detected_pixels < 8 * 640 * 400


def test_a_line_seen_elsewhere_is_not_recognised_again(reader: Reader) -> None:
    sequence = Sequence(reader)
    sequence.read(Desk().draw())
    sequence.incremental.reset()
    before = sequence.incremental.counts.recognised
    sequence.read(np.ascontiguousarray(np.roll(Desk().draw(), (3, 5), axis=(0, 1))))
    assert sequence.incremental.counts.recognised - before <= 2


def test_lines_keep_their_numbers_while_they_move(reader: Reader) -> None:
    sequence = Sequence(reader)
    page = sequence.read(Desk().draw())
    first = dict(zip((line.text for line in page.lines), sequence.incremental.numbers, strict=True))
    page = sequence.read(Desk(scroll=68).draw())
    second = dict(zip((line.text for line in page.lines), sequence.incremental.numbers, strict=True))
    assert second["The budget was approved"] == first["The budget was approved"]
    assert second["Minutes"] == first["Minutes"]
    assert "Meeting moved to Thursday" not in second


def test_another_size_is_a_new_beginning(reader: Reader) -> None:
    sequence = Sequence(reader)
    sequence.read(Desk().draw())
    small = np.ascontiguousarray(Desk().draw()[:240, :520])
    page = sequence.incremental.read(small, None)
    assert (page.height, page.width) == (240, 520)
    assert "Bring the signed contract" in page.text


def words_of(page: Page) -> Counter[str]:
    return Counter(page.text.split())


@pytest.mark.parametrize("seed", range(6))
def test_scrolls_by_any_offset_read_as_their_frames_do(reader: Reader, seed: int) -> None:
    """The same words as a full read, those of lines that an edge cuts included."""
    rng = np.random.default_rng(seed)
    sheet = Sheet.random(rng)
    sequence = Sequence(reader)
    scroll, typed = 0, ""
    for step in range(5):
        if step == 3:
            typed = f"{typed} {sheet.word(rng)}".strip()
        elif step:
            scroll = max(0, scroll + int(rng.integers(-60, 160)))
        pixels = sheet.draw(scroll, typed)
        page, whole = sequence.read(pixels), reader.read(pixels)
        assert words_of(page) == words_of(whole), f"scrolled to {scroll}"
    assert sequence.incremental.counts.cached + sequence.incremental.counts.kept > 0


@pytest.mark.parametrize("seed", range(4))
def test_a_window_over_lines_reads_as_its_frames_do(reader: Reader, seed: int) -> None:
    """What the window, the screen's edge and bars leave of lines included."""
    rng = np.random.default_rng(seed)
    sheet = Sheet.random(rng)
    sequence = Sequence(reader)
    places = [None, *((int(rng.integers(0, 400)), int(rng.integers(50, 260))) for _ in range(2)), None]
    for window in places:
        pixels = sheet.draw(0, "", window)
        page, whole = sequence.read(pixels), reader.read(pixels)
        assert words_of(page) == words_of(whole), f"window at {window}"


def test_a_small_change_is_looked_at_in_part(reader: Reader) -> None:
    sequence = Sequence(reader)
    sequence.read(Desk().draw())
    before = sequence.incremental.counts.detected_pixels
    sequence.read(Desk(typed="hello").draw())
    assert sequence.incremental.counts.detected_pixels - before < 0.5 * 640 * 400
