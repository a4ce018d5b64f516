"""Networks made in code."""

import numpy as np
import pytest

import vedette as vd
from vedette.errors import InputError
from vedette.model import Sequential
from vedette.quantization import sqnr

RANDOM = np.random.default_rng(3)


def perceptron() -> tuple[Sequential, list[np.ndarray]]:
    w, b = RANDOM.normal(0, 0.2, (64, 128)), RANDOM.normal(0, 0.1, 128)
    v, c = RANDOM.normal(0, 0.1, (128, 10)), RANDOM.normal(0, 0.1, 10)
    return Sequential().linear(w, b, activation="relu").linear(v, c), [w, b, v, c]


def test_a_perceptron_is_what_numpy_computes() -> None:
    net, (w, b, v, c) = perceptron()
    x = RANDOM.normal(0, 1, (5, 64)).astype(np.float32)
    expected = np.maximum(x @ w + b, 0) @ v + c
    model = net.build((None, 64))
    # Sums of 128 float32 products.
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)
    assert model.inputs[0].shape == (None, 64)


@pytest.mark.parametrize(
    ("precision", "least"), [("fast", 28), ("auto", 26), ("bfloat16", 35), ("float32", 100)]
)
def test_any_precision(precision: str, least: float) -> None:
    net, _ = perceptron()
    data = [RANDOM.normal(0, 1, (8, 64)).astype(np.float32) for _ in range(4)]
    model = net.build((None, 64), precision=precision, calibration=data)
    assert sqnr(net.build((None, 64))(data[0]), model(data[0])) > least


def test_a_convolutional_network() -> None:
    net = Sequential().conv2d(RANDOM.normal(0, 0.3, (8, 3, 3, 3)), np.zeros(8), padding=1, activation="silu")
    net = net.max_pool2d(2).conv2d(RANDOM.normal(0, 0.3, (8, 1, 3, 3)), groups=8, stride=2, padding=1)
    net = net.global_average_pool().flatten().linear(RANDOM.normal(0, 1, (8, 4)))
    data = [RANDOM.normal(0, 1, (1, 3, 16, 16)).astype(np.float32) for _ in range(3)]
    original = net.build((1, 3, 16, 16))
    assert original(data[0]).shape == (1, 4)
    quantised = net.build((1, 3, 16, 16), precision="fast", calibration=data)
    assert sqnr(original(data[0]), quantised(data[0])) > 25
    assert isinstance(vd.quantize(original, data, precision="fast"), vd.Model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sequential().build((1, 2)), "no layers"),
        (lambda: Sequential().linear([1.0, 2.0]), "weights of 2 dimensions"),
        (lambda: Sequential().linear([[np.nan]]), "NaN"),
        (lambda: Sequential().linear([[1.0]], [1.0, 2.0]), "bias of 1 numbers"),
        (lambda: Sequential().linear([[1.0]], activation="sine"), "there are 'relu'"),
        (lambda: Sequential().conv2d(np.ones((2, 1, 1, 1)), stride=0), "at least 1"),
        (lambda: Sequential().linear([[1.0]]).build((1, 1), precision="fast"), "needs calibration"),
    ],
)
def test_what_is_wrong_is_said(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
