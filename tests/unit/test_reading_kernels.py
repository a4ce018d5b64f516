"""Reading computes the same natively and in NumPy, the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vedette.ocr import kernels

MEAN = DEVIATION = (0.5, 0.5, 0.5)


def both(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> list[Any]:
    results = []
    for backend in ("native", "numpy"):
        monkeypatch.setenv("VEDETTE_BACKEND", backend)
        results.append(call())
    return results


def noise(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    ("size", "target"), [((40, 60), (40, 60)), ((33, 71), (64, 96)), ((90, 120), (32, 64))]
)
def test_images_are_stretched_alike(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], target: tuple[int, int]
) -> None:
    image = noise((*size, 3))[:, :, ::-1]
    native, numpy = both(monkeypatch, lambda: kernels.normalised(image, *target, MEAN, DEVIATION, 1))
    # The native weights have 11 bits, as OpenCV's; a level is 2 / 255.
    np.testing.assert_allclose(native, numpy, atol=2 / 255)
    native, numpy = both(monkeypatch, lambda: kernels.stretched(image, *target, 1))
    assert np.abs(native.astype(int) - numpy).max() <= 1


@pytest.mark.parametrize("turn", [0.0, 0.02, -0.3, 1.2])
def test_lines_are_cut_alike(monkeypatch: pytest.MonkeyPatch, turn: float) -> None:
    image = noise((80, 200, 3))
    corners = np.array([[-50, -9], [50, -9], [50, 9], [-50, 9]], np.float64)
    spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    quads = np.array([corners @ spin + [100.3, 40.6], corners * 0.4 + [30, 15]], np.float32)
    # A line that is narrower at one end.
    quads[1, 1, 1] += 2

    def cut() -> NDArray[np.float32]:
        out = np.full((2, 3, 48, 320), 7, np.float32)
        kernels.crop_lines(image, quads, [300, 120], out, MEAN, DEVIATION, 1)
        return out

    native, numpy = both(monkeypatch, cut)
    # Places are kept in 1/256 of a pixel at least, and neighbours of noise differ by up to 255 levels.
    np.testing.assert_allclose(native, numpy, atol=4 / 255)
    assert (numpy[1, :, :, 120:] == 0).all()


def area_and_middle(quads: NDArray[np.float32]) -> list[list[float]]:
    sides = np.linalg.norm(np.roll(quads, -1, axis=1) - quads, axis=2)
    rows = np.concatenate([(sides[:, 0] * sides[:, 1])[:, None], quads.mean(axis=1)], axis=1)
    return sorted(rows.astype(float).tolist())


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_boxes_are_found_alike(seed: int, dilate: bool, upright: bool) -> None:
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(10, 80)), int(rng.integers(10, 120))
    map = rng.random((height, width), np.float32) * np.float32(0.25)
    down, across = np.mgrid[:height, :width]
    for _ in range(int(rng.integers(1, 5))):
        angle, middle = 0.0 if upright else rng.uniform(-1, 1), rng.uniform(0, [height, width])
        along = (across - middle[1]) * np.cos(angle) + (down - middle[0]) * np.sin(angle)
        aside = (down - middle[0]) * np.cos(angle) - (across - middle[1]) * np.sin(angle)
        map[(np.abs(along) < rng.uniform(3, 40)) & (np.abs(aside) < rng.uniform(2, 8))] = rng.uniform(0.6, 1)
    # Where two rectangles around a tilted region have the least area, each side may take another.
    least = 0.5 if upright else 0.0
    with pytest.MonkeyPatch.context() as patch:
        native, numpy = both(patch, lambda: kernels.find_text_boxes(map, 0.3, least, 1.6, 1000, dilate))
    if upright:
        assert sorted(native.tolist()) == sorted(numpy.tolist())
    else:
        assert len(native) == len(numpy)
        ours, theirs = (np.array(area_and_middle(quads)).reshape(-1, 3) for quads in (native, numpy))
        np.testing.assert_allclose(ours[:, 0], theirs[:, 0], rtol=0.25)


def test_nothing_is_found_where_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for map in (np.zeros((16, 16), np.float32), np.full((2, 2), 0.9, np.float32)):
        native, numpy = both(
            monkeypatch, lambda map=map: kernels.find_text_boxes(map, 0.3, 0.5, 1.6, 1000, True)
        )
        assert native.shape == numpy.shape == (0, 4, 2)
