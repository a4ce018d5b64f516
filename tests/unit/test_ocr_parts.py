"""The steps of reading, one by one."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vedette import _native
from vedette.errors import InputError, InvalidModelError
from vedette.ocr import Line, Page, Reader
from vedette.ocr.batches import plan_batches
from vedette.ocr.ctc import alphabet, collapse
from vedette.ocr.detector import DetectorOptions, frame, network_size
from vedette.ocr.geometry import sizes, turned_to_read
from vedette.ocr.layout import reading_order


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def quads(*boxes: tuple[float, float, float, float]) -> np.ndarray:
    return np.array([box(*corners) for corners in boxes], np.float32)


# characters


def test_the_alphabet_has_the_blank_first_and_the_space_last() -> None:
    # Some of the characters are line separators to str.splitlines.
    assert alphabet("a\nb\n\u2028\n") == ["", "a", "b", "\u2028", " "]
    assert alphabet("a\r\nb") == ["", "a", "b", " "]


def decoded(steps: list[int], names: list[str]) -> tuple[str, tuple[int, ...]]:
    scores = np.full(len(steps), 0.5, np.float32)
    result = collapse(np.array(steps, np.uint32), scores, names)
    assert result.score == (0.5 if result.text else 0.0)
    return result.text, result.steps


def test_repetitions_collapse_and_blanks_separate() -> None:
    names = ["", "a", "b", " "]
    assert decoded([0, 1, 1, 0, 1, 2, 2, 3, 0, 2], names) == ("aab b", (1, 4, 5, 7, 9))
    assert decoded([0, 0, 0], names) == ("", ())
    assert decoded([], names) == ("", ())


def test_the_score_is_the_mean_of_the_kept_steps() -> None:
    classes = np.array([1, 1, 0, 2], np.uint32)
    scores = np.array([0.9, 0.1, 1.0, 0.5], np.float32)
    assert collapse(classes, scores, ["", "a", "b"]).score == pytest.approx(0.7)


def test_a_class_without_a_character_is_an_error() -> None:
    with pytest.raises(InvalidModelError, match="character list of 2"):
        decoded([5], ["", "a"])


# batches


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 4000), max_size=40),
    st.sampled_from([8, 32, 64]),
    st.integers(100, 5000),
    st.integers(0, 200),
)
def test_every_line_is_in_one_batch_that_holds_it(
    widths: list[int], multiple: int, capacity: int, overhead: int
) -> None:
    batches = plan_batches(widths, multiple=multiple, capacity=capacity, overhead=overhead)
    assert sorted(line for batch in batches for line in batch.lines) == list(range(len(widths)))
    for batch in batches:
        assert batch.width % multiple == 0
        assert max(widths[line] for line in batch.lines) <= batch.width
        assert len(batch.lines) == 1 or len(batch.lines) * batch.width <= capacity


def test_the_plan_is_the_cheapest_one() -> None:
    widths = [64, 96, 320, 352, 352, 900, 32]
    multiple, capacity, overhead = 32, 1100, 40

    def cost(groups: list[list[int]]) -> float:
        total = 0.0
        for group in groups:
            padded = -(-max(group) // multiple) * multiple * len(group)
            if len(group) > 1 and padded > capacity:
                return float("inf")
            total += padded + overhead
        return total

    ordered = sorted(widths)
    best = float("inf")
    for cuts in itertools.product([False, True], repeat=len(ordered) - 1):
        groups = [[ordered[0]]]
        for cut, width in zip(cuts, ordered[1:], strict=True):
            if cut:
                groups.append([])
            groups[-1].append(width)
        best = min(best, cost(groups))
    batches = plan_batches(widths, multiple=multiple, capacity=capacity, overhead=overhead)
    assert sum(len(batch.lines) * batch.width + overhead for batch in batches) == best


# sizes


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1080, 1920), (1088, 1920)),
        ((736, 1000), (736, 992)),
        ((368, 500), (736, 992)),
        ((3000, 2000), (1984, 1344)),
        ((2160, 3840), (1120, 1984)),
        ((40, 8000), (32, 4000)),
    ],
)
def test_the_network_sees_multiples_of_32_within_limits(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert network_size(*size, DetectorOptions()) == expected


def test_thin_images_get_room_in_their_own_colour() -> None:
    image = np.full((20, 1000, 3), (10, 20, 30), np.uint8)
    image[5:15, 10:900] = 200
    framed, (left, top) = frame(image)
    assert (left, top) == (0, 53)
    assert framed.shape == (126, 1000, 3)
    assert (framed[:top] == (10, 20, 30)).all()
    assert np.array_equal(framed[top : top + 20], image)
    same, offset = frame(framed)
    assert same is framed
    assert offset == (0, 0)


def test_high_boxes_hold_text_turned_sideways() -> None:
    lines = quads((0, 0, 100, 20), (0, 0, 20, 100), (0, 0, 20, 25))
    turned = turned_to_read(lines, 1.5)
    assert np.array_equal(turned[[0, 2]], lines[[0, 2]])
    assert turned[1].tolist() == [[20, 0], [20, 100], [0, 100], [0, 0]]
    width, height = sizes(turned)
    assert (width[1], height[1]) == (100, 20)


# reading order


def test_no_lines_have_no_order() -> None:
    assert reading_order(np.empty((0, 4, 2), np.float32)) == []


def test_rows_go_down_and_cells_go_right() -> None:
    lines = quads(
        (300, 52, 380, 70), (10, 10, 80, 28), (10, 50, 90, 68), (300, 12, 360, 30), (10, 90, 70, 108)
    )
    assert reading_order(lines) == [[1, 3], [2, 0], [4]]


def test_a_skewed_page_is_levelled_first() -> None:
    angle = np.radians(6)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    cells = [(x, y, x + 150, y + 18) for y in (0, 30, 60) for x in (0, 300, 600)]
    lines = (quads(*cells) @ turn).astype(np.float32)
    assert reading_order(lines) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_columns_of_running_text_are_read_one_after_the_other() -> None:
    headline = (0, 0, 700, 30)
    left = [(0, 50 + 24 * i, 320, 68 + 24 * i) for i in range(5)]
    right = [(380, 50 + 24 * i, 700, 68 + 24 * i) for i in range(5)]
    footer = (0, 200, 690, 218)
    lines = quads(headline, *left, *right, footer)
    assert [row[0] for row in reading_order(lines)] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]


def test_cells_of_a_table_stay_in_their_rows() -> None:
    lines = quads(*[(x, y, x + 60, y + 18) for y in range(0, 300, 30) for x in (0, 300, 500)])
    assert reading_order(lines) == [[i, i + 1, i + 2] for i in range(0, 30, 3)]


def test_columns_of_different_lengths_end_where_they_end() -> None:
    left = [(0, 24 * i, 320, 18 + 24 * i) for i in range(8)]
    right = [(380, 24 * i, 700, 18 + 24 * i) for i in range(4)]
    order = [index for row in reading_order(quads(*left, *right)) for index in row]
    assert order == list(range(12))


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 900)] * 2, st.integers(5, 300), st.integers(5, 40)), max_size=30))
def test_every_line_has_one_place(boxes: list[tuple[int, int, int, int]]) -> None:
    lines = quads(*[(x, y, x + width, y + height) for x, y, width, height in boxes]).reshape(-1, 4, 2)
    order = [index for row in reading_order(lines) for index in row]
    assert sorted(order) == list(range(len(boxes)))


# pages


def page() -> Page:
    lines = (
        Line(
            "Total <due>",
            0.987654,
            np.array(box(10, 10, 120, 30), np.float32),
            0,
            tuple(np.linspace(0.05, 0.95, 11)),
        ),
        Line('12.50 & "tax"', 0.9, np.array(box(200, 12, 300, 32), np.float32), 0),
        Line("thanks", 0.8, np.array(box(10, 50, 90, 70), np.float32), 1),
    )
    return Page(lines, 320, 100, {"detect": 0.25, "total": 0.5})


def test_text_has_a_line_a_row_and_tabs_between_cells() -> None:
    assert page().text == 'Total <due>\t12.50 & "tax"\nthanks'
    assert [len(row) for row in page().rows] == [2, 1]
    assert Page((), 5, 5).text == ""


def test_words_share_the_box_of_their_line() -> None:
    first, second = page().lines[0].words
    assert (first.text, second.text) == ("Total", "<due>")
    assert first.box[0].tolist() == [10, 10]
    assert second.box[1].tolist() == [120, 10]
    assert np.allclose(first.box[1], second.box[0])
    assert [word.text for word in page().lines[1].words] == ['12.50 & "tax"']


def test_the_dict_is_plain() -> None:
    import json

    described = json.loads(json.dumps(page().to_dict()))
    assert described["width"] == 320
    assert described["lines"][0] == {
        "text": "Total <due>",
        "score": 0.98765,
        "row": 0,
        "box": [[10.0, 10.0], [120.0, 10.0], [120.0, 30.0], [10.0, 30.0]],
    }
    assert described["timings"]["total"] == 0.5


def test_hocr_is_well_formed() -> None:
    document = page().to_hocr(title='a "strange" <name>\x01.png')
    root = ElementTree.fromstring(document)
    spaces = {"h": "http://www.w3.org/1999/xhtml"}
    sheet = root.find(".//h:div[@class='ocr_page']", spaces)
    assert sheet is not None
    assert sheet.get("title") == 'image "a \\"strange\\" <name>.png"; bbox 0 0 320 100; ppageno 0'
    lines = sheet.findall("h:span[@class='ocr_line']", spaces)
    assert len(lines) == 3
    assert lines[0].get("title", "").startswith("bbox 10 10 120 30; ")
    words = [word.text for word in sheet.findall(".//h:span[@class='ocrx_word']", spaces)]
    assert words == ["Total", "<due>", '12.50 & "tax"', "thanks"]


def test_drawing_shows_the_image_beside_its_text() -> None:
    image = np.full((100, 320, 3), 255, np.uint8)
    drawn = page().draw(image)
    assert drawn.shape == (100, 640, 3)
    assert (drawn[:, :320] != 255).any()
    assert (drawn[12:28, 330:420].min(axis=2) < 80).any()
    with pytest.raises(InputError, match="320 x 100"):
        page().draw(image[:50])


# readers


def test_wrong_settings_are_named() -> None:
    with pytest.raises(InputError, match="precision"):
        Reader({}, precision="int3")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="thread"):
        Reader({}, threads=0)
    with pytest.raises(InputError, match="detector"):
        Reader({"recogniser": "x.onnx"})


# the boundary


def test_wrong_shapes_are_input_errors_not_panics() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    half = (0.5, 0.5, 0.5)
    out = np.zeros((1, 3, 48, 32), np.float32)
    lines = quads((0, 0, 8, 8))
    wrong = [
        lambda: _native.crop_lines(image, lines, [33], out, half, half, True, 1),
        lambda: _native.crop_lines(image, lines, [0], out, half, half, True, 1),
        lambda: _native.crop_lines(image, lines, [8, 8], out, half, half, True, 1),
        lambda: _native.crop_lines(image, lines[:, :3], [8], out, half, half, True, 1),
        lambda: _native.crop_lines(image[:0], lines, [8], out, half, half, True, 1),
        lambda: _native.crop_lines(image[:, :, :2], lines, [8], out, half, half, True, 1),
        lambda: _native.crop_lines(image, lines, [8], out[:, :, ::2], half, half, True, 1),
    ]
    for call in wrong:
        with pytest.raises(InputError):
            call()
