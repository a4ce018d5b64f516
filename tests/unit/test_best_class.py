"""Classifiers that answer with the likeliest class alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_graphs import Net, operators

import vedette as vd
from vedette.errors import InputError
from vedette.model.graph import Array
from vedette.model.passes.dead_code import remove_dead_code
from vedette.model.passes.softmax import unflatten_softmax

rng = np.random.default_rng(5)
WEIGHTS = rng.normal(0, 1, (16, 1801)).astype(np.float32)
X = rng.normal(0, 1, (2, 5, 16)).astype(np.float32)


def classifier(path: Path, last: str, **attributes: int) -> Path:
    net = Net()
    y = net.op("MatMul", net.input("x", "n", "t", 16), net.constant(WEIGHTS))
    onnx.save(net.model(net.op(last, y, **attributes)), path)
    return path


def softmax(x: Array) -> Array:
    e = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("axis", [-1, 2])
def test_the_best_of_a_softmax_is_found_without_it(tmp_path: Path, axis: int) -> None:
    model = vd.load(classifier(tmp_path / "net.onnx", "Softmax", axis=axis), best_class=True)
    scores, classes = model(X)
    expected = softmax(X @ WEIGHTS)
    assert scores.shape == classes.shape == (2, 5)
    np.testing.assert_array_equal(classes, expected.argmax(axis=-1))
    np.testing.assert_allclose(scores, expected.max(axis=-1), rtol=1e-5)
    assert [port.dtype for port in model.outputs] == ["float32", "int64"]
    assert [entry.op for entry in model.profile(X).entries] == ["MatMul", "BestClass"]


def test_a_softmax_along_another_axis_stays(tmp_path: Path) -> None:
    path = classifier(tmp_path / "net.onnx", "Softmax", axis=1)
    scores, classes = vd.load(path, best_class=True)(X)
    expected = vd.load(path)(X)
    np.testing.assert_array_equal(classes, expected.argmax(axis=-1))
    np.testing.assert_array_equal(scores, expected.max(axis=-1))


def test_other_ends_are_searched_as_they_are(tmp_path: Path) -> None:
    path = classifier(tmp_path / "net.onnx", "Tanh")
    scores, classes = vd.load(path, best_class=True)(X)
    expected = vd.load(path)(X)
    np.testing.assert_array_equal(classes, expected.argmax(axis=-1))
    np.testing.assert_array_equal(scores, expected.max(axis=-1))


def test_rows_of_any_memory_order_are_searched(tmp_path: Path) -> None:
    net = Net()
    x = net.input("x", 2, 7, 5)
    onnx.save(net.model(net.op("Softmax", net.op("Transpose", x, perm=[0, 2, 1]))), tmp_path / "net.onnx")
    values = rng.normal(0, 1, (2, 7, 5)).astype(np.float32)
    scores, classes = vd.load(tmp_path / "net.onnx", best_class=True)(values)
    expected = softmax(values.transpose(0, 2, 1))
    np.testing.assert_array_equal(classes, expected.argmax(axis=-1))
    np.testing.assert_allclose(scores, expected.max(axis=-1), rtol=1e-5)


def test_a_softmax_of_old_models_is_read_as_one() -> None:
    # Before opset 13 dimensions were flattened, and ranks are found later than models are read.
    net = Net()
    x = net.input("x", "n", "t", 8)
    flat = net.op("Flatten", x, axis=2)
    y = net.op("Reshape", net.op("Softmax", flat, axis=-1), net.op("Shape", x), allowzero=1)
    assert operators(remove_dead_code(unflatten_softmax(net.graph(y)))) == ["Softmax"]
    other = net.op("Reshape", net.op("Softmax", net.op("Flatten", x, axis=1)), net.op("Shape", x))
    assert "Flatten" in operators(unflatten_softmax(net.graph(other)))


def test_other_models_are_refused(tmp_path: Path) -> None:
    net = Net()
    x = net.input("x", "n", 3)
    onnx.save(net.model(net.op("Relu", x), net.op("Neg", x)), tmp_path / "two.onnx")
    with pytest.raises(InputError, match="one float32 output"):
        vd.load(tmp_path / "two.onnx", best_class=True)
    with pytest.raises(InputError, match="native engine"):
        vd.load(tmp_path / "two.onnx", engine="onnxruntime", best_class=True)
