"""Colours, geometry and filters of 1080p frames against OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vedette import _native
from vedette.bench.timing import Case

__all__ = ["cases"]

COLOURS = (
    ("rgb", "bgr", cv2.COLOR_RGB2BGR),
    ("rgba", "bgr", cv2.COLOR_RGBA2BGR),
    ("rgb", "gray", cv2.COLOR_RGB2GRAY),
    ("rgb", "hsv", cv2.COLOR_RGB2HSV),
    ("hsv", "rgb", cv2.COLOR_HSV2RGB),
    ("rgb", "yuv", cv2.COLOR_RGB2YUV),
    ("yuv", "rgb", cv2.COLOR_YUV2RGB),
    ("nv12", "rgb", cv2.COLOR_YUV2RGB_NV12),
    ("i420", "rgb", cv2.COLOR_YUV2RGB_I420),
    ("yuyv", "rgb", cv2.COLOR_YUV2RGB_YUYV),
)
SHAPES = {
    "rgba": (1080, 1920, 4),
    "nv12": (1620, 1920),
    "i420": (1620, 1920),
    "yuyv": (1080, 1920, 2),
}
RGB = (1080, 1920, 3)


Call = Callable[[], Any]


def cases(threads: int) -> Iterator[Case]:
    """Every conversion, mirroring, turning, warping, blurring."""
    for source, target, code in COLOURS:
        yield _colour(source, target, code, threads)
    image = np.random.default_rng(0).integers(0, 256, RGB, dtype=np.uint8)
    out, theirs = np.empty(RGB, np.uint8), np.empty(RGB, np.uint8)
    turned, their_turned = np.empty((1920, 1080, 3), np.uint8), np.empty((1920, 1080, 3), np.uint8)

    def quarter() -> Any:
        return cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE, dst=their_turned)

    yield _copy("mirror", image[:, ::-1], out, lambda: cv2.flip(image, 1, dst=theirs), threads)
    yield _copy("turn upside down", image[::-1], out, lambda: cv2.flip(image, 0, dst=theirs), threads)
    yield _copy("turn by a quarter", np.rot90(image), turned, quarter, threads)
    affine = np.array([[0.9, 0.2, 3.5], [-0.15, 1.1, 7.25]])
    perspective = np.vstack([affine, [1e-4, 5e-5, 1.0]])
    moved = 2 * image.nbytes / 1e6
    for name, matrix, call in (
        ("affine", np.vstack([affine, [0, 0, 1]]), partial(cv2.warpAffine, image, affine)),
        ("perspective", perspective, partial(cv2.warpPerspective, image, perspective)),
    ):
        yield Case(
            f"{name} warp 1080p",
            "OpenCV",
            partial(_warp, image, matrix.tolist(), out, threads),
            partial(call, (1920, 1080), dst=theirs),
            moved,
        )
    for name, sigma, call in (
        ("box", None, partial(cv2.blur, image, (5, 5), dst=theirs)),
        ("Gaussian", (0.0, 0.0), partial(cv2.GaussianBlur, image, (5, 5), 0, dst=theirs)),
    ):
        ours = partial(_native.blur, image, (5, 5), sigma, False, out, threads)
        yield Case(f"{name} blur of 5 x 5, 1080p", "OpenCV", ours, call, moved)


def _colour(source: str, target: str, code: int, threads: int) -> Case:
    image = np.random.default_rng(0).integers(0, 256, SHAPES.get(source, RGB), dtype=np.uint8)
    shape = RGB[: 2 if target == "gray" else 3]
    out, theirs = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    return Case(
        f"{source} to {target} 1080p",
        "OpenCV",
        partial(_native.convert_color, image, source, target, out, threads),
        lambda: cv2.cvtColor(image, code, dst=theirs),
        (image.nbytes + out.nbytes) / 1e6,
    )


def _copy(name: str, view: NDArray[Any], out: NDArray[Any], theirs: Call, threads: int) -> Case:
    def ours(_: str) -> Any:
        return _native.copy_image(view, out, threads)

    return Case(f"{name} 1080p", "OpenCV", ours, theirs, 2 * out.nbytes / 1e6, levels=False)


def _warp(image: NDArray[Any], rows: Any, out: NDArray[Any], threads: int, isa: str) -> Any:
    return _native.warp(image, rows, (1080, 1920), False, 0, True, out, threads, isa)
