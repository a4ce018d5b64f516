"""Operations on images against the libraries whose conventions they name: OpenCV, Pillow, NumPy.

torchvision's conventions are those of Pillow (antialiased) and OpenCV (not), so they are compared with these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import vedette as vd

Pixels = NDArray[np.uint8]


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(height: int, width: int) -> Pixels:
    """Smooth shading with edges: what photographs are made of."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 17 + c) + np.cos(y / 23 - c) + ((x // 40 + y // 30) % 2) for c in range(3)]
    return np.clip(np.stack(waves, -1) * 40 + 100, 0, 255).astype(np.uint8)


def apart(a: NDArray[Any], b: NDArray[Any]) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max(initial=0))


@pytest.mark.parametrize("width", [1, 7, 64, 321])
def test_gray_has_the_bits_of_opencv_and_pillow(width: int) -> None:
    rgb = noise(33, width, 3)
    rgba = noise(33, width, 4)
    assert np.array_equal(vd.image.to_gray(rgb), cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    assert np.array_equal(vd.image.to_gray(rgba), cv2.cvtColor(rgba, cv2.COLOR_RGBA2GRAY))
    assert np.array_equal(vd.image.to_gray(rgb[..., ::-1]), cv2.cvtColor(rgb, cv2.COLOR_BGR2GRAY))
    pillow = np.asarray(Image.fromarray(rgb).convert("L"))
    assert np.array_equal(vd.image.to_gray(rgb, profile="pillow"), pillow)
    torchvision = (rgb @ np.array([0.2989, 0.587, 0.114])).astype(np.uint8)
    # A sum that is a whole number but for rounding may be cut off to either side.
    assert apart(vd.image.to_gray(rgb, profile="torchvision"), torchvision) <= 1


def test_gray_of_every_colour() -> None:
    levels = np.arange(256, dtype=np.uint8)
    for red in range(0, 256, 15):
        rgb = np.stack(np.broadcast_arrays(np.uint8(red), levels[:, None], levels[None, :]), -1).copy()
        assert np.array_equal(vd.image.to_gray(rgb), cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))


PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos3": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


@pytest.mark.parametrize("filter", PILLOW)
@pytest.mark.parametrize("size", [(50, 70), (224, 224), (311, 517), (99, 401)])
def test_resize_is_within_a_level_of_pillow(filter: Any, size: tuple[int, int]) -> None:
    for image, name in [(noise(270, 333, 3), "noise"), (picture(270, 333), "picture")]:
        ours = vd.image.resize(image, size, filter=filter)
        theirs = np.asarray(Image.fromarray(image).resize(size[::-1], PILLOW[filter]))
        # Pillow rounds and clips to levels between its two passes; where a filter overshoots, noise shows it.
        clipped = filter in ("bicubic", "lanczos3") and name == "noise"
        if filter == "nearest":
            assert np.array_equal(ours, theirs)
        elif clipped:
            assert np.mean(np.abs(ours.astype(int) - theirs) > 1) < 0.1
        else:
            assert apart(ours, theirs) <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(50, 70), (224, 224), (311, 517)])
def test_resize_is_within_a_level_of_opencv(size: tuple[int, int], channels: int) -> None:
    image = noise(270, 333, channels).reshape(270, 333, *([channels] if channels > 1 else []))
    pairs: list[tuple[Any, int]] = [
        ("bilinear", cv2.INTER_LINEAR),
        ("bicubic", cv2.INTER_CUBIC),
        ("nearest", cv2.INTER_NEAREST),
    ]
    for filter, flag in pairs:
        ours = vd.image.resize(image, size, filter=filter, antialias=False, profile="opencv")
        theirs = cv2.resize(image, size[::-1], interpolation=flag)
        assert apart(ours, theirs) <= (0 if filter == "nearest" else 1), filter
    if size[0] < 270:
        small = (min(size[0], 270), min(size[1], 333))
        ours = vd.image.resize(image, small, filter="area", profile="opencv")
        assert apart(ours, cv2.resize(image, small[::-1], interpolation=cv2.INTER_AREA)) <= 1


def test_resize_of_float_and_16_bit_images() -> None:
    image = noise(90, 120, 3).astype(np.float32) / 255
    ours = vd.image.resize(image, (40, 33), antialias=False, profile="opencv")
    # OpenCV's own weights are float32 and its sums differ in order.
    np.testing.assert_allclose(ours, cv2.resize(image, (33, 40)), atol=2e-6)
    wide = (image * 65535).astype(np.uint16)
    ours = vd.image.resize(wide, (40, 33), antialias=False, profile="opencv")
    assert apart(ours, cv2.resize(wide, (33, 40))) <= 1


def letterbox_of_ultralytics(image: Pixels, size: tuple[int, int]) -> Pixels:
    """The reference's arithmetic, with OpenCV's resize."""
    height, width = image.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    inner = round(width * ratio), round(height * ratio)
    dw, dh = (size[1] - inner[0]) / 2, (size[0] - inner[1]) / 2
    top, bottom = round(dh - 0.1), round(dh + 0.1)
    left, right = round(dw - 0.1), round(dw + 0.1)
    resized = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    border = cv2.copyMakeBorder(resized, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    return np.asarray(border, np.uint8)


@pytest.mark.parametrize("shape", [(108, 192), (192, 108), (77, 301), (300, 299), (640, 640)])
def test_letterbox_is_ultralytics_and_its_inverse_returns(shape: tuple[int, int]) -> None:
    image = noise(*shape, 3)
    ours, transform = vd.image.letterbox(image, (160, 160), antialias=False)
    assert apart(ours, letterbox_of_ultralytics(image, (160, 160))) <= 1
    corners = np.array([0.0, 0.0, shape[1], shape[0]])
    np.testing.assert_allclose(transform.inverse(transform(corners)), corners, atol=1e-9)


def test_thresholds_are_opencvs() -> None:
    gray = vd.image.to_gray(picture(121, 203))
    for value in (-1, 0, 99.5, 100, 254, 255, 300):
        expected = cv2.threshold(gray, value, 200, cv2.THRESH_BINARY)[1]
        assert np.array_equal(vd.image.threshold(gray, value, maximum=200), expected), value
    level, image = vd.image.threshold_otsu(gray)
    expected_level, expected = cv2.threshold(gray, 0, 255, cv2.THRESH_OTSU)
    assert level == expected_level
    assert np.array_equal(image, expected)
    for method, flag in [
        ("mean", cv2.ADAPTIVE_THRESH_MEAN_C),
        ("gaussian", cv2.ADAPTIVE_THRESH_GAUSSIAN_C),
    ]:
        ours = vd.image.threshold_adaptive(gray, 11, method=method, offset=2)  # type: ignore[arg-type]
        expected = cv2.adaptiveThreshold(gray, 255, flag, cv2.THRESH_BINARY, 11, 2)
        if method == "mean":
            assert np.array_equal(ours, expected)
        # The mean is rounded once in either; where it falls between two levels, a pixel may flip.
        assert np.mean(ours != expected) < 0.01


def test_normalize_is_numpys() -> None:
    x = np.random.default_rng(1).random((50, 61, 3), dtype=np.float32)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = (x - np.float32(mean)) / np.float32(std)
    ours = vd.image.normalize(x, mean, std)
    np.testing.assert_array_max_ulp(ours, expected, 2)
    assert vd.image.normalize(x, mean, std, out=x) is x
    assert np.array_equal(x, ours)
    image = noise(20, 30, 3)
    np.testing.assert_allclose(
        vd.image.normalize(image, 127.5, 63), (image.astype(np.float32) - 127.5) / 63, rtol=1e-6
    )


COLOURS: list[tuple[str, str, int, int, int]] = [
    ("rgb", "bgr", cv2.COLOR_RGB2BGR, 3, 0),
    ("rgba", "bgr", cv2.COLOR_RGBA2BGR, 4, 0),
    ("bgr", "rgba", cv2.COLOR_BGR2RGBA, 3, 0),
    ("gray", "rgb", cv2.COLOR_GRAY2RGB, 1, 0),
    ("bgr", "gray", cv2.COLOR_BGR2GRAY, 3, 0),
    ("rgb", "hsv", cv2.COLOR_RGB2HSV, 3, 0),
    ("rgb", "yuv", cv2.COLOR_RGB2YUV, 3, 1),
    ("yuv", "rgb", cv2.COLOR_YUV2RGB, 3, 1),
    ("hsv", "rgb", cv2.COLOR_HSV2RGB, 3, 2),
]


@pytest.mark.parametrize(("source", "target", "code", "channels", "corridor"), COLOURS)
def test_colours_are_opencvs(source: str, target: str, code: int, channels: int, corridor: int) -> None:
    image = noise(40, 51, channels)
    if source == "hsv":
        image[..., 0] %= 180
    if channels == 1:
        image = image[..., 0]
    assert apart(vd.image.convert(image, source, target), cv2.cvtColor(image, code)) <= corridor


CAMERAS = [
    ("nv12", "rgb", cv2.COLOR_YUV2RGB_NV12),
    ("nv12", "bgra", cv2.COLOR_YUV2BGRA_NV12),
    ("nv12", "gray", cv2.COLOR_YUV2GRAY_NV12),
    ("i420", "bgr", cv2.COLOR_YUV2BGR_I420),
    ("i420", "rgba", cv2.COLOR_YUV2RGBA_I420),
    ("i420", "gray", cv2.COLOR_YUV2GRAY_I420),
    ("yuyv", "rgb", cv2.COLOR_YUV2RGB_YUYV),
    ("yuyv", "rgba", cv2.COLOR_YUV2RGBA_YUYV),
    ("yuyv", "gray", cv2.COLOR_YUV2GRAY_YUYV),
]


@pytest.mark.parametrize(("source", "target", "code"), CAMERAS)
def test_camera_formats_have_the_bits_of_opencv(source: str, target: str, code: int) -> None:
    frame = noise(48, 150, 2) if source == "yuyv" else noise(72, 150)
    assert np.array_equal(vd.image.convert(frame, source, target), cv2.cvtColor(frame, code))


@pytest.mark.parametrize("size", [(3, 3), (5, 5), (9, 9), (5, 11), (31, 3), (51, 51)])
def test_blurs_are_opencvs(size: tuple[int, int]) -> None:
    image = noise(61, 83, 3)
    flipped = size[::-1]  # OpenCV has widths first.
    assert np.array_equal(vd.image.box_blur(image, size), cv2.blur(image, flipped))
    for sigma in (0, 1.5):
        assert np.array_equal(
            vd.image.gaussian_blur(image, size, sigma), cv2.GaussianBlur(image, flipped, sigma)
        )
    wide = image.astype(np.uint16) * 257
    assert apart(vd.image.box_blur(wide, size), cv2.blur(wide, flipped)) <= 1
    # OpenCV rounds the weights of 16-bit images to 16 bits: of 65535 that is one level in each pass.
    assert apart(vd.image.gaussian_blur(wide, size), cv2.GaussianBlur(wide, flipped, 0)) <= 2
    floats = image.astype(np.float32)
    # Sums of up to 51 values, then up to 51 of those, of 255 times a float32's 6e-8.
    for ours, theirs in [
        (vd.image.box_blur(floats, size), cv2.blur(floats, flipped)),
        (vd.image.gaussian_blur(floats, size), cv2.GaussianBlur(floats, flipped, 0)),
    ]:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=102 * 255 * 6e-8)


def test_warps_are_opencvs() -> None:
    image = picture(80, 100)
    affine = np.array([[0.9, 0.2, 3.5], [-0.15, 1.1, 7.25]])
    perspective = np.array([[0.9, 0.2, 3.5], [-0.15, 1.1, 7.25], [0.001, 0.0005, 1.0]])
    pairs: list[tuple[Pixels, Any]] = [
        (vd.image.warp_affine(image, affine, (70, 90)), cv2.warpAffine(image, affine, (90, 70))),
        (
            vd.image.warp_perspective(image, perspective, (70, 90)),
            cv2.warpPerspective(image, perspective, (90, 70)),
        ),
    ]
    for ours, theirs in pairs:
        # OpenCV may round positions to 1/32 pixel, which moves values at edges.
        assert np.mean(np.abs(ours.astype(int) - theirs)) < 0.5
        assert np.quantile(np.abs(ours.astype(int) - theirs), 0.99) <= 5


def test_geometry_difference_and_histogram_are_numpys() -> None:
    image = noise(31, 47, 3)
    cases: list[tuple[Callable[..., Any], Any]] = [
        (lambda: vd.image.flip(image), image[:, ::-1]),
        (lambda: vd.image.flip(image, "vertical"), image[::-1]),
        (lambda: vd.image.flip(image, "both"), image[::-1, ::-1]),
        (lambda: vd.image.rotate90(image), np.rot90(image)),
        (lambda: vd.image.rotate90(image, -1), np.rot90(image, -1)),
        (lambda: vd.image.crop(image, 3, 5, 7, 11), image[3:10, 5:16]),
        (lambda: vd.image.absdiff(image, image[::-1]), cv2.absdiff(image, image[::-1].copy())),
    ]
    for ours, expected in cases:
        assert np.array_equal(ours(), expected)
    assert np.array_equal(
        vd.image.histogram(image, channel=1), np.bincount(image[..., 1].ravel(), minlength=256)
    )


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("shape", [(270, 480), (333, 222)])
def test_preprocess_is_resize_and_normalise(shape: tuple[int, int]) -> None:
    image = noise(*shape, 3)
    pre = vd.image.Preprocess((64, 96), mean=MEAN, std=STD)
    pillow = np.asarray(Image.fromarray(image).resize((96, 64), Image.Resampling.BILINEAR))
    expected = ((pillow / 255 - MEAN) / STD).transpose(2, 0, 1)[None]
    # Pillow rounds to levels: at most 0.5 in each pass, and 1/64 of ours.
    assert np.abs(pre(image) - expected).max() < 1.1 / 255 / min(STD)
    quick = vd.image.Preprocess((64, 96), mean=MEAN, std=STD, antialias=False, profile="opencv")
    blob = (
        cv2.dnn.blobFromImage(image, 1 / 255, (96, 64), np.array(MEAN) * 255) / np.array(STD)[:, None, None]
    )
    assert np.abs(quick(image) - blob).max() < 1.1 / 255 / min(STD)


def test_preprocess_of_camera_frames_is_close_to_converting_first() -> None:
    # Chroma is smooth here, as it is where halving it does no harm: the order of the steps then hardly
    # matters.
    y, x = np.mgrid[:120, :160]
    yuv = np.empty((180, 160), np.uint8)
    yuv[:120] = 60 + (x + y) // 3
    yuv[120:, 0::2] = (110 + np.mgrid[:60, :80][1] // 4).astype(np.uint8)
    yuv[120:, 1::2] = (120 + np.mgrid[:60, :80][0] // 4).astype(np.uint8)
    rgb = cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_NV12)
    direct = vd.image.Preprocess((40, 56), source="nv12", dtype="uint8", layout="NHWC")(yuv)
    converted = vd.image.Preprocess((40, 56), dtype="uint8", layout="NHWC")(rgb)
    assert apart(direct, converted) <= 3
