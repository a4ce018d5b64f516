"""Images against what torchvision and Ultralytics made of them (see ``record_image_libraries.py``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vedette as vd

RECORDED: dict[str, Any] = dict(np.load(Path(__file__).with_name("image_libraries.npz")))
NAMES = ["noise", "smooth"]
SIZES = [(20, 31), (64, 96)]


def apart(a: Any, b: Any) -> int:
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("name", NAMES)
def test_gray_has_the_bits_of_torchvision(name: str) -> None:
    ours = vd.image.to_gray(RECORDED[name], profile="torchvision")
    assert np.array_equal(ours, RECORDED[f"{name} gray"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("antialias", [True, False])
def test_resize_is_within_a_level_of_torchvision(name: str, size: tuple[int, int], antialias: bool) -> None:
    ours = vd.image.resize(RECORDED[name], size, antialias=antialias, profile="torchvision")
    assert apart(ours, RECORDED[f"{name} {size[0]}x{size[1]} {antialias}"]) <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_letterbox_is_within_a_level_of_ultralytics(name: str, size: tuple[int, int]) -> None:
    ours, _ = vd.image.letterbox(RECORDED[name], size, antialias=False, profile="ultralytics")
    assert apart(ours, RECORDED[f"{name} letterbox {size[0]}x{size[1]}"]) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_preprocess_is_torchvisions_resize_and_normalize(name: str) -> None:
    std = (0.229, 0.224, 0.225)
    pre = vd.image.Preprocess((20, 31), mean=(0.485, 0.456, 0.406), std=std, profile="torchvision")
    # torchvision rounds to levels in between: half a level, and what our sums are off.
    assert np.abs(pre(RECORDED[name])[0] - RECORDED[f"{name} normalised"]).max() < 1.1 / 255 / min(std)
