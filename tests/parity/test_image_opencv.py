"""Resizing and straightening against OpenCV, whose conventions the networks were trained with."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import vedette as vd
from vedette import _native

HALF = (0.5, 0.5, 0.5)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def picture(height: int, width: int) -> np.ndarray:
    """Noise over smooth colours: every misplaced sample shows."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([127 + 120 * np.sin(x / 9), 127 + 120 * np.cos(y / 7), (x + y) % 256], axis=2)
    return (0.7 * smooth + 0.3 * rng.integers(0, 256, (height, width, 3))).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "target"),
    [
        ((40, 60), (40, 60)),
        ((40, 60), (96, 64)),
        ((201, 99), (64, 128)),
        ((1080, 1920), (1088, 1920)),
        ((7, 5), (32, 32)),
        ((1, 1), (32, 64)),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_resizing_is_opencvs_linear(size: tuple[int, int], target: tuple[int, int], threads: int) -> None:
    image = picture(*size)
    prepare = vd.image.Preprocess(
        target, mean=IMAGENET[0], std=IMAGENET[1], antialias=False, profile="opencv", threads=threads
    )
    out = prepare(image)[0]
    resized = cv2.resize(image.astype(np.float32), target[::-1], interpolation=cv2.INTER_LINEAR)
    expected = (resized / 255 - IMAGENET[0]) / IMAGENET[1]
    # Levels keep seven fraction bits between the passes: a hundredth of one, over 255 x 0.22.
    assert np.abs(out - expected.transpose(2, 0, 1)).max() < 2e-3


def test_views_and_channel_order_are_read_in_place() -> None:
    image = picture(50, 70)
    prepare = vd.image.Preprocess((33, 47), mean=HALF, std=HALF, antialias=False, profile="opencv")
    for view in [
        image[::2, ::-1],
        image[5:40, 10:50],
        image[:, :, ::-1],
        np.dstack([image, image])[:, :, 1:4],
    ]:
        for seen in (view, view[:, :, ::-1]):
            assert np.array_equal(prepare(seen), prepare(np.ascontiguousarray(seen)))


def straightened(image: np.ndarray, quad: np.ndarray, width: int, height: int) -> np.ndarray:
    """A line as RapidOCR and PaddleOCR cut it out, but bilinear throughout and without rounding to 8 bits."""
    sides = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1)
    across, down = max(sides[0], sides[2]), max(sides[1], sides[3])
    corners = np.array([[0, 0], [across, 0], [across, down], [0, down]], np.float32)
    to_line = cv2.getPerspectiveTransform(quad.astype(np.float32), corners)
    # Pixel centres of the line, half a step inside the crop.
    x = (np.arange(width) + 0.5) * across / width - 0.5
    y = (np.arange(height) + 0.5) * down / height - 0.5
    grid = np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 1, 2)
    source = (
        cv2.perspectiveTransform(grid, np.linalg.inv(to_line)).reshape(height, width, 2).astype(np.float32)
    )
    return cv2.remap(
        image.astype(np.float32),
        source[..., 0],
        source[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


@pytest.mark.parametrize(
    "quad",
    [
        [[20, 30], [170, 30], [170, 52], [20, 52]],
        [[20.4, 30.7], [170.1, 30.7], [170.1, 52.2], [20.4, 52.2]],
        [[20, 30], [170, 41], [168, 63], [18, 52]],
        [[20, 90], [170, 20], [180, 45], [30, 115]],
        [[20, 30], [170, 36], [160, 70], [30, 55]],
        [[150, 100], [20, 96], [21, 70], [151, 74]],
        [[-10, -8], [90, -8], [90, 12], [-10, 12]],
        [[120, 80], [230, 90], [228, 140], [118, 130]],
    ],
)
@pytest.mark.parametrize("bgr", [False, True])
def test_lines_are_straightened_as_by_opencv(quad: list[list[float]], bgr: bool) -> None:
    smooth = cv2.GaussianBlur(picture(128, 200), (0, 0), 2)
    corners = np.array([quad], np.float32)
    sides = np.linalg.norm(np.roll(corners[0], -1, axis=0) - corners[0], axis=1)
    width = int(np.ceil(48 * max(sides[0], sides[2]) / max(sides[1], sides[3])))
    out = np.full((1, 3, 48, width + 9), np.nan, np.float32)
    _native.crop_lines(smooth, corners, [width], out, HALF, HALF, bgr, 1)
    expected = straightened(smooth[:, :, ::-1] if bgr else smooth, corners[0], width, 48)
    got = (out[0, :, :, :width].transpose(1, 2, 0) * 0.5 + 0.5) * 255
    # OpenCV rounds positions to 1/32 of a pixel, which moves a value by 1/32 of the steepest step of 8.
    assert np.abs(got - expected).max() < 1
    assert np.abs(got - expected).mean() < 0.1
    assert (out[0, :, :, width:] == 0).all()


def test_strided_images_give_the_same_lines() -> None:
    image = picture(90, 120)
    quads = np.array(
        [[[10, 20], [100, 26], [99, 50], [9, 44]], [[5, 5], [110, 5], [110, 30], [5, 30]]], np.float32
    )
    expected = np.empty((2, 3, 48, 256), np.float32)
    _native.crop_lines(image, quads, [200, 256], expected, HALF, HALF, False, 1)
    wide = np.dstack([image, image])
    for view, bgr in [(wide[:, :, :3], False), (wide[:, :, 2::-1], True), (np.asfortranarray(image), False)]:
        out = np.empty_like(expected)
        _native.crop_lines(view, quads, [200, 256], out, HALF, HALF, bgr, 2)
        assert np.array_equal(out, expected)


def test_boxes_are_those_of_opencv() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        mask = np.zeros((240, 320), np.float32)
        size = (float(rng.uniform(60, 150)), float(rng.uniform(10, 30)))
        placed = ((160.0, 120.0), size, float(rng.uniform(-40, 40)))
        cv2.fillPoly(mask, [cv2.boxPoints(placed).astype(np.int32)], 0.8)
        quads, scores = _native.find_text_boxes(mask, 0.3, 0.5, 0.0, 3.0, 1000, False)
        contours, _ = cv2.findContours((mask > 0.3).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        _, (a, b), _ = cv2.minAreaRect(contours[0])
        assert len(quads) == 1
        sides = np.linalg.norm(np.roll(quads[0], -1, axis=0) - quads[0], axis=1)
        # The same least area; equally small rectangles may differ in shape by a rounding.
        assert sides[0] * sides[1] == pytest.approx(a * b, rel=1e-3)
        assert 0.7 < scores[0] <= 0.8001
