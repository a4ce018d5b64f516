"""Images of any strides: every level gives the same bits, strided arrays the results of packed ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import vedette as vd
from vedette import _native

SIDES = st.integers(1, 90)


def noise(shape: tuple[int, ...], seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@st.composite
def images(draw: st.DrawFn, channels: tuple[int, ...] = (1, 3, 4)) -> NDArray[np.uint8]:
    """An image as a view with steps, mirrored axes, swapped axes, an unaligned start."""
    count = draw(st.sampled_from(channels))
    base = noise((draw(SIDES) + 2, draw(SIDES) + 2, count + 2), draw(st.integers(0, 99)))
    image = base[draw(st.integers(0, 1)) :, draw(st.integers(0, 1)) :]
    view = draw(
        st.sampled_from(["plain", "channels", "mirrored", "upside down", "steps", "swapped", "planar"])
    )
    start = draw(st.integers(0, 2))
    image = image[:, :, start : start + count]
    if view == "channels":
        image = image[:, :, ::-1]
    elif view == "mirrored":
        image = image[:, ::-1]
    elif view == "upside down":
        image = image[::-1]
    elif view == "steps":
        image = image[::2, ::-2]
    elif view == "swapped":
        image = image.swapaxes(0, 1)
    elif view == "planar":
        image = np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    return image


def results(function: Any) -> NDArray[Any]:
    """The result at every level and with one thread and two; they must be equal."""
    found = [function(threads, isa) for isa in _native.available_isas() for threads in (1, 2)]
    for other in found[1:]:
        assert np.array_equal(found[0], other)
    first: NDArray[Any] = found[0]
    return first


@settings(deadline=None, max_examples=150)
@given(
    image=images(),
    size=st.tuples(SIDES, SIDES),
    filter=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos3", "area"]),
    antialias=st.booleans(),
    profile=st.sampled_from(["opencv", "pillow", "torchvision"]),
)
def test_resize(
    image: NDArray[np.uint8], size: tuple[int, int], filter: str, antialias: bool, profile: str
) -> None:
    def at(array: NDArray[np.uint8]) -> Any:
        return lambda threads, isa: _native.resize_image(
            array, size, filter, antialias, profile, None, threads, isa
        )

    assert np.array_equal(results(at(image)), results(at(image.copy())))


@settings(deadline=None, max_examples=100)
@given(image=images(), profile=st.sampled_from(["opencv", "pillow", "torchvision"]))
def test_gray(image: NDArray[np.uint8], profile: str) -> None:
    def at(array: NDArray[np.uint8]) -> Any:
        return lambda threads, isa: _native.to_gray(array, profile, None, threads, isa)

    assert np.array_equal(results(at(image)), results(at(image.copy())))


@settings(deadline=None, max_examples=100)
@given(image=images(), value=st.integers(-2, 300))
def test_threshold_and_difference(image: NDArray[np.uint8], value: int) -> None:
    ours = results(lambda threads, isa: _native.threshold(image, value, 200, None, threads, isa))
    assert np.array_equal(ours, np.where(image > value, 200, 0))
    other = noise(image.shape, 7)[::-1]
    ours = results(lambda threads, isa: _native.absdiff(image, other, None, threads, isa))
    assert np.array_equal(ours, np.abs(image.astype(int) - other))
    strided = np.zeros((*image.shape[:2], image.shape[2] + 1), np.uint8)[:, :, 1:]
    assert np.array_equal(
        vd.image.threshold(image, value, maximum=200, out=strided), np.where(image > value, 200, 0)
    )


@settings(deadline=None, max_examples=100)
@given(image=images())
def test_normalize(image: NDArray[np.uint8]) -> None:
    means = [float(i) for i in range(image.shape[2])]
    ours = results(lambda threads, isa: _native.normalize(image, means, [2.0], None, threads, isa))
    assert np.array_equal(ours, (image.astype(np.float32) - np.float32(means)) * np.float32(0.5))


@settings(deadline=None, max_examples=60)
@given(
    image=images(),
    size=st.sampled_from([1, 3, 7, 9, 11, 33]),
    sigma=st.sampled_from([None, (0.0, 0.0), (1.3, 2.0), (0.3, 5.0)]),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
)
def test_blur(image: NDArray[np.uint8], size: int, sigma: tuple[float, float] | None, dtype: str) -> None:
    def at(array: NDArray[Any]) -> Any:
        return lambda threads, isa: _native.blur(array, (size, 3), sigma, False, None, threads, isa)

    view = image if dtype == "uint8" else image.astype(dtype)[::-1, ::-1]
    assert np.array_equal(results(at(view)), results(at(view.copy())))


SPACES = ["rgb", "bgr", "hsv", "yuv", "rgba", "bgra", "gray"]


@settings(deadline=None, max_examples=150)
@given(image=images(), source=st.sampled_from(SPACES), target=st.sampled_from(SPACES))
def test_colours(image: NDArray[np.uint8], source: str, target: str) -> None:
    channels = {"rgba": 4, "bgra": 4, "gray": 1}.get(source, 3)
    image = np.repeat(image, 4, axis=2)[..., :channels]

    def at(array: NDArray[np.uint8]) -> Any:
        return lambda threads, isa: _native.convert_color(array, source, target, None, threads, isa)

    assert np.array_equal(results(at(image)), results(at(image.copy())))


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 40).map(lambda side: 2 * side),
    width=st.integers(1, 90).map(lambda side: 2 * side),
    source=st.sampled_from(["nv12", "i420", "yuyv"]),
    seed=st.integers(0, 99),
)
def test_camera_formats(height: int, width: int, source: str, seed: int) -> None:
    shape = (height, width, 2) if source == "yuyv" else (height * 3 // 2, width)
    frame = noise((*shape[:1], 2 * shape[1], *shape[2:]), seed)[:, ::-2]

    def at(array: NDArray[np.uint8]) -> Any:
        return lambda threads, isa: _native.convert_color(array, source, "rgb", None, threads, isa)

    ours = results(at(frame))
    assert np.array_equal(ours, results(at(frame.copy())))
    for target, order in [("bgr", [2, 1, 0]), ("rgba", [0, 1, 2]), ("bgra", [2, 1, 0])]:
        other = results(
            lambda threads, isa, to=target: _native.convert_color(frame, source, to, None, threads, isa)
        )
        assert np.array_equal(ours, other[..., order])
        assert (other[..., 3:] == 255).all()
    luma = frame[..., 0] if source == "yuyv" else frame[:height]
    assert np.array_equal(_native.convert_color(frame, source, "gray"), luma)


@settings(deadline=None, max_examples=100)
@given(
    image=images(),
    size=st.tuples(SIDES, SIDES),
    matrix=st.lists(st.floats(-3, 3), min_size=9, max_size=9),
    nearest=st.booleans(),
)
def test_warp(image: NDArray[np.uint8], size: tuple[int, int], matrix: list[float], nearest: bool) -> None:
    rows = np.array(matrix).reshape(3, 3).tolist()

    def at(array: NDArray[np.uint8]) -> Any:
        return lambda threads, isa: _native.warp(array, rows, size, nearest, 9, False, None, threads, isa)

    assert np.array_equal(results(at(image)), results(at(image.copy())))


@settings(deadline=None, max_examples=100)
@given(
    image=images(channels=(1, 2, 3, 4)), turns=st.integers(-3, 5), axis=st.sampled_from([(0,), (1,), (0, 1)])
)
def test_copies_of_views(image: NDArray[np.uint8], turns: int, axis: tuple[int, ...]) -> None:
    for dtype in (np.uint8, np.uint16):
        view = np.rot90(np.flip(image.astype(dtype), axis), turns)
        assert np.array_equal(_native.copy_image(view), view)


@settings(deadline=None, max_examples=100)
@given(
    frames=st.lists(images(channels=(3,)), min_size=1, max_size=4),
    size=st.tuples(SIDES, SIDES),
    fit=st.sampled_from(["stretch", "letterbox", "crop"]),
    planar=st.booleans(),
    dtype=st.sampled_from(["float32", "float16", "uint8", "int8"]),
    source=st.sampled_from(["rgb", "bgr"]),
)
def test_preprocess(
    frames: list[NDArray[np.uint8]], size: tuple[int, int], fit: str, planar: bool, dtype: str, source: str
) -> None:
    pre = _native.Preprocess(
        size, fit, "bilinear", True, "pillow", [0.3, 0.2, 0.1], [1, 2, 3], 114, planar, dtype, source
    )
    batch = results(lambda threads, isa: pre.run(frames, None, threads, isa))
    for slot, frame in zip(batch, frames, strict=True):
        assert np.array_equal(slot, pre.run([frame.copy()])[0])
    other = _native.Preprocess(
        size,
        fit,
        "bilinear",
        True,
        "pillow",
        [0.3, 0.2, 0.1],
        [1, 2, 3],
        114,
        planar,
        dtype,
        "bgr" if source == "rgb" else "rgb",
    )
    assert np.array_equal(other.run([frame[..., ::-1] for frame in frames]), batch)


@pytest.mark.parametrize("isa", _native.available_isas())
def test_frames_larger_than_a_thread_is_given(isa: str) -> None:
    image = noise((1080, 1920, 3), 3)
    one = _native.resize_image(image, (224, 224), "bilinear", True, "pillow", None, 1, isa)
    two = _native.resize_image(image, (224, 224), "bilinear", True, "pillow", None, 2, isa)
    assert np.array_equal(one, two)
