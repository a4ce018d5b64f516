"""What image functions take and refuse: shapes, dtypes, outputs, foreign arrays, lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import vedette as vd
from vedette.errors import InputError

RGB = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def test_outputs_are_written_and_returned() -> None:
    gray = np.zeros((6, 8), np.uint8)
    assert vd.image.to_gray(RGB, out=gray) is gray
    assert np.array_equal(gray, vd.image.to_gray(RGB))
    frame = np.zeros((9, 9, 3), np.uint8)
    inner = frame[2:6, 1:6]
    assert vd.image.resize(RGB, (4, 5), out=inner) is inner
    assert np.array_equal(inner, vd.image.resize(RGB, (4, 5)))
    assert not frame[:2].any()
    mirrored = np.zeros((6, 8), np.uint8)[::-1, ::-1]
    vd.image.to_gray(RGB, out=mirrored)
    assert np.array_equal(mirrored, gray)
    again = gray.copy()
    assert vd.image.threshold(again, 50, out=again) is again
    assert np.array_equal(again, np.where(gray > 50, 255, 0))


def test_outputs_that_do_not_fit_are_refused() -> None:
    frozen = np.zeros((6, 8), np.uint8)
    frozen.flags.writeable = False
    base = np.zeros((6, 9, 3), np.uint8)
    cases: list[tuple[Any, str]] = [
        (lambda: vd.image.to_gray(RGB, out=frozen), "read-only"),
        (lambda: vd.image.to_gray(RGB, out=np.zeros((6, 7), np.uint8)), "shape"),
        (lambda: vd.image.to_gray(RGB, out=np.zeros((6, 8), np.float32)), "uint8"),
        (lambda: vd.image.to_gray(base, out=base[..., 0]), "overlaps"),
        (lambda: vd.image.threshold(base[:, 1:], 3, out=base[:, :-1]), "overlaps"),
        (lambda: vd.image.absdiff(base[:, 1:], base[:, 1:], out=base[:, :-1]), "overlaps"),
        (lambda: vd.image.convert(base, "rgb", "gray", out=base[..., 0]), "overlaps"),
        (lambda: vd.image.flip(base, out=base), "overlaps"),
        (lambda: vd.image.box_blur(base, 3, out=base), "overlaps"),
        (lambda: vd.image.to_gray(RGB, out=[[1]]), "NumPy array"),
        (
            lambda: vd.image.to_gray(RGB, out=np.lib.stride_tricks.as_strided(frozen.copy(), (6, 8), (8, 0))),
            "stride",
        ),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()


def test_images_that_are_none_are_refused() -> None:
    cases: list[tuple[Any, str]] = [
        (
            lambda: vd.image.to_gray(np.zeros((4, 6, 2), np.uint8)),
            r"expected 1, 3 or 4 channels, got 2 \(shape",
        ),
        (lambda: vd.image.to_gray(np.zeros((4, 6, 5), np.uint8)), "channels"),
        (lambda: vd.image.to_gray(np.zeros(4, np.uint8)), "shape"),
        (lambda: vd.image.to_gray(np.zeros((4, 6, 3), np.int64)), "int64"),
        (lambda: vd.image.to_gray(np.zeros((4, 6, 3), ">u2")), "u2"),
        (lambda: vd.image.resize(np.zeros((0, 6, 3), np.uint8), (3, 3)), "without pixels"),
        (lambda: vd.image.resize(RGB, (3, 3), filter="mitchell"), "mitchell"),  # type: ignore[arg-type]
        (lambda: vd.image.resize(RGB, (3, 3), profile="photoshop"), "photoshop"),  # type: ignore[arg-type]
        (lambda: vd.image.box_blur(RGB, 4), "odd"),
        (lambda: vd.image.box_blur(RGB, -3), "negative"),
        (lambda: vd.image.resize(RGB, (-3, 4)), "negative"),
        (lambda: vd.image.resize(RGB, 224), "height, width"),  # type: ignore[arg-type]
        (lambda: vd.image.letterbox(RGB, (2.5, 3)), "whole pixels"),  # type: ignore[arg-type]
        (lambda: vd.image.threshold_adaptive(RGB[..., 0], maximum=300), "0 to 255"),
        (lambda: vd.image.histogram(RGB, channel=-1), "count from 0"),
        (lambda: vd.image.warp_affine(RGB, [[1, 2], [3]], (3, 3)), "matrix of numbers"),
        (lambda: vd.image.warp_affine(RGB, np.eye(3), (3, 3)), r"shape \(2, 3\)"),
        (lambda: vd.image.flip(np.zeros(4, np.uint8)), "two axes"),
        (lambda: vd.image.absdiff([RGB], [RGB, RGB]), "one length"),
        (lambda: vd.image.convert(np.zeros((6, 8), np.uint8), "nv12", "hsv"), "nv12"),
        (lambda: vd.image.normalize(RGB, (1, 2), (1, 1)), "last axis"),
        (lambda: vd.image.normalize(RGB, 0, 0), "zero"),
        (lambda: vd.image.convert(RGB, "rgb", "cmyk"), "cmyk"),
        (lambda: vd.image.convert(RGB, "rgba", "rgb"), "4 channels"),
        (lambda: vd.image.convert(np.zeros((7, 8), np.uint8), "nv12", "rgb"), "nv12"),
        (lambda: vd.image.warp_affine(RGB, np.zeros((2, 3)), (3, 3)), "inverse"),
        (lambda: vd.image.crop(RGB, 3, 3, 4, 4), "lie within"),
        (lambda: vd.image.flip(RGB, "sideways"), "sideways"),  # type: ignore[arg-type]
        (lambda: vd.image.histogram(RGB, channel=3), "channel 3"),
        (lambda: vd.image.absdiff(RGB, RGB[:3]), "one type and shape"),
        (lambda: vd.image.Preprocess((3, 3), dtype="int8"), "quantization"),
        (lambda: vd.image.Preprocess((3, 3), mean=(1, 2)), "3 values of mean"),
        (lambda: vd.image.Preprocess((0, 3)), "size"),
        (lambda: vd.image.Preprocess((3, 3))(np.zeros((4, 4), np.uint8)), "rgb frames"),
        (lambda: vd.image.Preprocess((3, 3), source="yuyv")(np.zeros((4, 5, 2), np.uint8)), "even width"),
        (
            lambda: vd.image.Preprocess((3, 3))(RGB, out=np.zeros((1, 3, 3, 6), np.float32)[..., ::2]),
            "contiguous",
        ),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()


class Exporter:
    """An array by one protocol only."""

    def __init__(self, array: NDArray[Any], *names: str) -> None:
        for name in names:
            setattr(self, name, getattr(array, name))


class OverDLPack:
    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def foreign(array: NDArray[Any]) -> list[Any]:
    return [Exporter(array, "__array_interface__"), OverDLPack(array), memoryview(array)]


EVERY: dict[str, Any] = {
    "to_gray": vd.image.to_gray,
    "threshold": lambda image: vd.image.threshold(image, 90),
    "threshold_otsu": lambda image: vd.image.threshold_otsu(image)[1],
    "normalize": lambda image: vd.image.normalize(image, 3, 2),
    "resize": lambda image: vd.image.resize(image, (5, 3)),
    "letterbox": lambda image: vd.image.letterbox(image, (9, 9))[0],
    "crop": lambda image: vd.image.crop(image, 1, 2, 3, 4),
    "flip": vd.image.flip,
    "rotate90": vd.image.rotate90,
    "convert": lambda image: vd.image.convert(image, "rgb", "hsv"),
    "warp_affine": lambda image: vd.image.warp_affine(image, np.eye(2, 3), (5, 5)),
    "warp_perspective": lambda image: vd.image.warp_perspective(image, np.eye(3), (5, 5)),
    "box_blur": lambda image: vd.image.box_blur(image, 3),
    "gaussian_blur": lambda image: vd.image.gaussian_blur(image, 3),
    "absdiff": lambda image: vd.image.absdiff(image, image),
    "histogram": vd.image.histogram,
    "Preprocess": vd.image.Preprocess((4, 4)),
    "encode": lambda image: vd.image.encode(image, "png"),
}


@pytest.mark.parametrize("name", EVERY)
def test_every_function_reads_foreign_arrays_in_place(name: str) -> None:
    call, expected = EVERY[name], EVERY[name](RGB)
    for other in foreign(RGB.copy()):
        assert np.array_equal(call(other), expected)


def test_crops_of_foreign_arrays_share_their_memory() -> None:
    image = RGB.copy()
    for other in foreign(image):
        assert np.shares_memory(vd.image.crop(other, 1, 2, 3, 4), image)


def test_foreign_outputs_are_written() -> None:
    expected = vd.image.to_gray(RGB)
    for index in range(3):
        gray = np.zeros((6, 8), np.uint8)
        written = vd.image.to_gray(RGB, out=foreign(gray)[index])
        assert np.array_equal(gray, expected)
        assert np.shares_memory(written, gray)
    with pytest.raises(InputError, match="read-only"):
        vd.image.to_gray(RGB, out=memoryview(bytes(48)).cast("B", (6, 8)))
    image = RGB.copy()
    with pytest.raises(InputError, match="overlaps"):
        vd.image.box_blur(image, 3, out=memoryview(image))
    assert vd.image.threshold(image, 90, out=memoryview(image)) is not None
    assert np.array_equal(image, vd.image.threshold(RGB, 90))


def test_lists_may_hold_images_of_different_sizes() -> None:
    images = [RGB, RGB[:3]]
    others = [image[::-1] for image in images]
    for image, other, apart in zip(images, others, vd.image.absdiff(images, others), strict=True):
        assert np.array_equal(apart, vd.image.absdiff(image, other))
    assert [int(counts.sum()) for counts in vd.image.histogram(images)] == [48, 24]
    assert [part.shape for part in vd.image.crop(images, 0, 0, 2, 2)] == [(2, 2, 3)] * 2
    batch = np.stack([RGB, RGB[::-1]])
    pre = vd.image.Preprocess((4, 4))
    assert np.array_equal(pre(batch), pre(list(batch)))


def test_batches_are_lists_or_arrays() -> None:
    batch = np.stack([RGB, RGB[::-1], RGB[:, ::-1]])
    gray = vd.image.to_gray(batch)
    assert gray.shape == (3, 6, 8)
    for ours, one in zip(gray, vd.image.to_gray(list(batch)), strict=True):
        assert np.array_equal(ours, one)
    resized = vd.image.resize(batch, (4, 5))
    assert resized.shape == (3, 4, 5, 3)
    assert np.array_equal(resized[1], vd.image.resize(batch[1], (4, 5)))
    assert vd.image.resize(RGB[..., 0], (4, 5)).shape == (4, 5)
    assert vd.image.resize(RGB[..., :1], (4, 5)).shape == (4, 5, 1)
    with pytest.raises(InputError, match="3 outputs"):
        vd.image.to_gray(list(batch), out=[np.zeros((6, 8), np.uint8)])


BATCHED: dict[str, Any] = {
    "to_gray": lambda images, out=None: vd.image.to_gray(images, out=out),
    "threshold": lambda images, out=None: vd.image.threshold(images, 90, out=out),
    "normalize": lambda images, out=None: vd.image.normalize(images, 3, 2, out=out),
    "resize": lambda images, out=None: vd.image.resize(images, (5, 3), out=out),
    "letterbox": lambda images, out=None: vd.image.letterbox(images, (9, 9), out=out)[0],
    "convert": lambda images, out=None: vd.image.convert(images, "rgb", "bgra", out=out),
    "warp_affine": lambda images, out=None: vd.image.warp_affine(
        images, [[0.8, 0.1, 1], [0, 1, 0]], (6, 5), out=out
    ),
    "flip": lambda images, out=None: vd.image.flip(images, out=out),
    "flip vertical": lambda images, out=None: vd.image.flip(images, "vertical", out=out),
    "rotate90": lambda images, out=None: vd.image.rotate90(images, out=out),
    "absdiff": lambda images, out=None: vd.image.absdiff(
        np.asarray(images), np.asarray(images)[..., ::-1], out=out
    ),
    "box_blur": lambda images, out=None: vd.image.box_blur(images, 3, out=out),
    "gaussian_blur": lambda images, out=None: vd.image.gaussian_blur(images, 3, out=out),
}
BYTES_ONLY: dict[str, Any] = {
    "hsv": lambda images, out=None: vd.image.convert(images, "rgb", "hsv", out=out),
}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("name", [*BATCHED, *BYTES_ONLY])
def test_every_function_takes_batches_lists_strides_and_outputs(name: str, dtype: str) -> None:
    call = (BATCHED | BYTES_ONLY)[name]
    batch = np.stack([RGB, RGB[::-1], RGB[:, ::-1]]).astype(dtype)
    if name in BYTES_ONLY and dtype != "uint8":
        with pytest.raises(InputError, match="expected uint8"):
            call(batch)
        return
    expected = [call(one) for one in batch]
    assert np.array_equal(call(batch), expected)
    assert np.array_equal(call(list(batch)), expected)
    mirrored = np.ascontiguousarray(batch[::-1, ::-1, :, ::-1])[::-1, ::-1, :, ::-1]
    assert np.array_equal(call(mirrored), expected)
    shape = np.shape(expected)
    wide = np.zeros([2 * side for side in shape], np.asarray(expected).dtype)
    out = wide[tuple(slice(None, None, -2) for _ in shape)]
    assert call(batch, out=out) is out
    assert np.array_equal(out, expected)
    frozen = np.zeros_like(np.asarray(expected))
    frozen.flags.writeable = False
    with pytest.raises(InputError, match="read-only"):
        call(batch, out=frozen)


def test_work_in_place() -> None:
    for dtype in ("uint8", "uint16", "float32"):
        image = RGB.astype(dtype)
        for view in (image.copy(), image.copy()[::-1, ::-1], np.dstack([image, image])[..., 1:4]):
            bgr = vd.image.convert(view, "rgb", "bgr")
            assert vd.image.convert(view, "rgb", "bgr", out=view) is view
            assert np.array_equal(view, bgr)
            other = np.ascontiguousarray(view[::-1])
            apart = vd.image.absdiff(view, other)
            assert vd.image.absdiff(view, other, out=view) is view
            assert np.array_equal(view, apart)
            apart = vd.image.absdiff(other, view)
            assert vd.image.absdiff(other, view, out=view) is view
            assert np.array_equal(view, apart)
    large = np.random.default_rng(0).integers(0, 256, (2, 300, 3001), dtype=np.uint8)
    expected = np.abs(large[0].astype(int) - large[1])
    assert np.array_equal(vd.image.absdiff(large[0], large[1], out=large[1]), expected)


def test_crops_of_batches_are_views() -> None:
    batch = np.stack([RGB, RGB])
    part = vd.image.crop(batch, 1, 2, 3, 4)
    assert part.shape == (2, 3, 4, 3)
    assert np.shares_memory(part, batch)
    assert np.array_equal(part[1], RGB[1:4, 2:6])


def test_preprocess_of_every_dtype() -> None:
    plain = vd.image.Preprocess((6, 8), scale=1.0)(RGB)
    assert np.array_equal(plain[0], RGB.transpose(2, 0, 1).astype(np.float32))
    assert np.array_equal(vd.image.Preprocess((6, 8), dtype="uint8", layout="NHWC")(RGB)[0], RGB)
    half = vd.image.Preprocess((6, 8), scale=1.0, dtype="float16")(RGB)
    assert np.array_equal(half, plain.astype(np.float16))
    signed = vd.image.Preprocess((6, 8), scale=1.0, dtype="int8", quantization=(2.0, -100))(RGB)
    assert np.array_equal(signed, np.clip(np.rint(plain / 2 - 100), -128, 127).astype(np.int8))


def test_preprocess_tells_where_points_land() -> None:
    for fit in ("stretch", "letterbox", "crop"):
        pre = vd.image.Preprocess((32, 32), fit=fit)  # type: ignore[arg-type]
        transform = pre.transform((100, 200))
        np.testing.assert_allclose(transform((100.0, 50.0)), (16.0, 16.0))
        np.testing.assert_allclose(transform.inverse((16.0, 16.0)), (100.0, 50.0))
