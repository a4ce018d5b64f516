"""Models that take uint8 images and normalise them themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_graphs import Net

import vedette as vd
from vedette.errors import InputError
from vedette.model import ImageInput
from vedette.model.graph import Array

rng = np.random.default_rng(11)

ALIKE = ImageInput(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
BY_CHANNEL = ImageInput(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
IMAGES = rng.integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net = Net()
    x = net.input("x", "n", 3, "h", "w")
    weights = net.constant(rng.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32))
    # The border is of zeros, which stand for the mean: it must not become black.
    y = net.op("Relu", net.op("Conv", x, weights, pads=[1, 1, 1, 1]))
    last = net.constant(rng.normal(0, 0.2, (4, 8, 1, 1)).astype(np.float32))
    file = tmp_path_factory.mktemp("images") / "net.onnx"
    onnx.save(net.model(net.op("Conv", y, last)), file)
    return file


def normalised(images: ImageInput, levels: Array = IMAGES) -> Array:
    mean, std = np.float32(images.mean), np.float32(images.std)
    return np.ascontiguousarray(((levels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("images", [ALIKE, BY_CHANNEL])
def test_images_give_what_normalised_planes_give(path: Path, images: ImageInput) -> None:
    planes = vd.load(path)
    model = vd.load(path, image_input=images)
    assert (model.inputs[0].dtype, model.inputs[0].shape) == ("uint8", ("n", 3, "h", "w"))
    expected = planes(normalised(images))
    for layout in (IMAGES.transpose(0, 3, 1, 2), np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))):
        np.testing.assert_allclose(model(layout), expected, atol=2e-5 * np.abs(expected).max())


def test_the_scale_is_part_of_the_weights(path: Path) -> None:
    profile = vd.load(path, image_input=BY_CHANNEL).profile(IMAGES.transpose(0, 3, 1, 2))
    assert [entry.op for entry in profile.entries][:3] == ["Cast", "Add", "Conv"]


def test_integers_look_levels_up(path: Path, tmp_path: Path) -> None:
    quantised = vd.quantize(path, [normalised(ALIKE)], precision="int8")
    assert quantised.recipe is not None
    recipe = quantised.recipe.save(tmp_path / "recipe.json")
    images = IMAGES.transpose(0, 3, 1, 2)
    for normalisation, first in ((ALIKE, "QuantizedLookup"), (BY_CHANNEL, "Cast")):
        model = vd.load(path, precision="int8", recipe=recipe, image_input=normalisation)
        assert model.profile(images).entries[0].op == first
        expected = quantised(normalised(normalisation))
        # Another order of operations puts a few levels on the other side of a half.
        assert np.abs(model(images) - expected).max() < 0.02 * np.abs(expected).max()


def test_what_was_kept_for_planes_is_not_taken_for_images(path: Path, tmp_path: Path) -> None:
    planes = vd.load(path, cache=tmp_path)
    images = vd.load(path, cache=tmp_path, image_input=ALIKE)
    assert [model.inputs[0].dtype for model in (planes, images)] == ["float32", "uint8"]
    assert vd.load(path, cache=tmp_path, image_input=ALIKE).inputs[0].dtype == "uint8"
    saved = images.save(tmp_path / "images.vedette")
    batch = IMAGES.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(vd.load(saved)(batch), images(batch))


@pytest.mark.parametrize(
    ("mean", "std"), [((0.5,), (0.5, 0.5)), ((), ()), ((0.5, 0.5, 0.5), (0.5, 0.0, 0.5))]
)
def test_means_and_deviations_must_fit_each_other(mean: Sequence[float], std: Sequence[float]) -> None:
    with pytest.raises(InputError, match="mean and a deviation"):
        ImageInput(tuple(mean), tuple(std))


def test_other_models_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 channels"):
        vd.load(path, image_input=ImageInput((0.5,), (0.5,)))
    net = Net()
    onnx.save(net.model(net.op("Relu", net.input("x", "n", 3))), tmp_path / "flat.onnx")
    with pytest.raises(InputError, match="one float32 input"):
        vd.load(tmp_path / "flat.onnx", image_input=ALIKE)
    with pytest.raises(InputError, match="native engine"):
        vd.load(path, engine="onnxruntime", image_input=ALIKE)
    with pytest.raises(InputError, match="quantised"):
        vd.quantize(vd.load(path, image_input=ALIKE), [normalised(ALIKE)])
