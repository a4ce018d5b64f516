"""A small convolutional network, trained here, in fewer bits: ``python -m bench.digits [--seeds N]``.

It learns scikit-learn's handwritten digits, 8x8 pixels, by stochastic gradient descent in NumPy: 1,200 of
them, shifted about; the other 597, each in nine places, test it. A row for each precision: accuracy, points
to float32, bytes of the constants.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import vedette
from bench.onnx_builder import OnnxNet

Array = NDArray[np.float32]
Images = tuple[Array, NDArray[np.int64]]

PRECISIONS = ("fast", "auto", "int4", "bfloat16")
_TRAINED_ON = 1200
_CHANNELS = (24, 64)
_HIDDEN = 128
_CLASSES = 10
_CALIBRATION = 64


def digits(seed: int = 0) -> tuple[Images, Images]:
    """Images ``(n, 1, 12, 12)`` from 0 to 1 and their digits, to learn and to be tested with.

    Those to learn stand in the middle of their border; those to be tested with in nine places of it.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    order = np.random.default_rng(seed).permutation(len(source.target))
    images = (source.images[order] / 16).astype(np.float32)[:, None]
    labels = source.target[order].astype(np.int64)
    train, test = slice(0, _TRAINED_ON), slice(_TRAINED_ON, None)
    middle = np.pad(images[train], ((0, 0), (0, 0), (2, 2), (2, 2)))
    places = [
        np.pad(images[test], ((0, 0), (0, 0), (2 + y, 2 - y), (2 + x, 2 - x)))
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
    ]
    return (middle, labels[train]), (np.concatenate(places), np.tile(labels[test], len(places)))


def _columns(x: Array) -> Array:
    """The 3x3 neighbourhoods of each pixel as rows: ``(n, height, width, 9 channels)``."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    return np.ascontiguousarray(windows.reshape(*x.shape[:3], -1))


@dataclass
class Network:
    """Two convolutions with Relu, each with a pool after it, and two dense layers; channels come last."""

    weights: list[Array]
    biases: list[Array]
    _kept: list[Any] = field(default_factory=list)

    @classmethod
    def fresh(cls, random: np.random.Generator) -> Network:
        """Random weights that keep the variance of what passes."""
        first, second = _CHANNELS
        shapes = [(9, first), (9 * first, second), (9 * second, _HIDDEN), (_HIDDEN, _CLASSES)]
        weights = [random.normal(0, (2 / shape[0]) ** 0.5, shape).astype(np.float32) for shape in shapes]
        return cls(weights, [np.zeros(shape[1], np.float32) for shape in shapes])

    def forward(self, x: Array) -> Array:
        """Scores ``(n, 10)`` of images ``(n, 12, 12, 1)``; what the gradients need is kept."""
        self._kept = []
        for at in (0, 1):
            columns = _columns(x)
            y = np.maximum(columns @ self.weights[at] + self.biases[at], 0)
            n, height, width, channels = y.shape
            blocks = y.reshape(n, height // 2, 2, width // 2, 2, channels)
            x = blocks.max((2, 4))
            self._kept.append((columns, blocks, x))
        flat = x.reshape(len(x), -1)
        hidden = np.maximum(flat @ self.weights[2] + self.biases[2], 0)
        self._kept.append((flat, hidden))
        return np.asarray(hidden @ self.weights[3] + self.biases[3], np.float32)

    def gradients(self, slope: Array) -> tuple[list[Array], list[Array]]:
        """Of the weights and biases, for this slope of the loss at the scores."""
        flat, hidden = self._kept[2]
        weights, biases = [hidden.T @ slope], [slope.sum(0)]
        slope = (slope @ self.weights[3].T) * (hidden > 0)
        weights.insert(0, flat.T @ slope)
        biases.insert(0, slope.sum(0))
        slope = slope @ self.weights[2].T
        for at in (1, 0):
            columns, blocks, pooled = self._kept[at]
            slope = slope.reshape(pooled.shape)
            passed = (blocks == pooled[:, :, None, :, None]) & (blocks > 0)
            spread = np.where(passed, slope[:, :, None, :, None], 0).reshape(-1, blocks.shape[-1])
            weights.insert(0, columns.reshape(-1, columns.shape[-1]).T @ spread)
            biases.insert(0, spread.sum(0))
            if at:
                slope = self._towards_input(spread @ self.weights[at].T, columns.shape)
        return weights, biases

    @staticmethod
    def _towards_input(slope: Array, shape: tuple[int, ...]) -> Array:
        n, height, width, _ = shape
        taps = slope.reshape(n, height, width, -1, 3, 3)
        padded = np.zeros((n, height + 2, width + 2, taps.shape[3]), np.float32)
        for y in range(3):
            for x in range(3):
                padded[:, y : y + height, x : x + width] += taps[..., y, x]
        return padded[:, 1:-1, 1:-1]


def train(images: Images, seed: int = 0, epochs: int = 12) -> Network:
    """Gradient descent with momentum on the cross entropy; the rate falls along a cosine."""
    random = np.random.default_rng(seed)
    network = Network.fresh(random)
    speeds = [np.zeros_like(part) for part in (*network.weights, *network.biases)]
    pixels, labels = images[0].transpose(0, 2, 3, 1), images[1]
    batch = 50
    steps = epochs * len(labels) // batch
    for step in range(steps):
        chosen = random.permutation(len(labels))[:batch]
        x = np.roll(pixels[chosen], random.integers(-1, 2, 2), (1, 2))
        scores = network.forward(x)
        shares = np.exp(scores - scores.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        shares[np.arange(batch), labels[chosen]] -= 1
        weights, biases = network.gradients(shares / batch)
        rate = 0.05 * (1 + np.cos(np.pi * step / steps)) / 2
        for at, (part, slope) in enumerate(
            zip((*network.weights, *network.biases), (*weights, *biases), strict=True)
        ):
            speeds[at] = 0.9 * speeds[at] - rate * (slope + 1e-4 * part)
            part += speeds[at]
    return network


def to_onnx(network: Network) -> onnx.ModelProto:
    """The network for images ``(n, 1, 12, 12)``."""
    net = OnnxNet(opset=17)
    x = net.input("x", "n", 1, 12, 12)
    for weights, bias in zip(network.weights[:2], network.biases[:2], strict=True):
        made = weights.shape[1]
        filters = weights.reshape(-1, 3, 3, made).transpose(3, 0, 1, 2)
        x = net.op("Conv", x, net.constant(filters), net.constant(bias), pads=[1, 1, 1, 1])
        x = net.op("MaxPool", net.op("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
    flat = net.op("Flatten", net.op("Transpose", x, perm=[0, 2, 3, 1]))
    for at, (weights, bias) in enumerate(zip(network.weights[2:], network.biases[2:], strict=True)):
        flat = net.op("Gemm", flat, net.constant(weights), net.constant(bias))
        flat = net.op("Relu", flat) if at == 0 else flat
    return net.model(flat)


def accuracy(model: vedette.Model, images: Images) -> float:
    """The share of digits told right, in percent."""
    scores = np.asarray(model(images[0]))
    return 100 * float((scores.argmax(1) == images[1]).mean())


def main() -> None:
    """Train, and print a row for each precision."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1, help="networks to train")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="write the last network there")
    chosen = parser.parse_args()
    print(f"{'seed':>4}  {'precision':10}{'accuracy':>9}{'points':>8}{'bytes':>9}")
    for seed in range(chosen.seeds):
        learnt, test = digits(seed)
        made = to_onnx(train(learnt, seed))
        with tempfile.TemporaryDirectory() as folder:
            path = chosen.onnx or Path(folder) / "digits.onnx"
            onnx.save(made, path)
            exact = accuracy(vedette.load(path), test)
            print(f"{seed:4}  {'float32':10}{exact:8.2f}%")
            samples = [learnt[0][at : at + 1] for at in range(_CALIBRATION)]
            for precision in PRECISIONS:
                model = vedette.quantize(path, samples, precision=precision)
                assert model.report is not None
                found = accuracy(model, test)
                print(
                    f"{seed:4}  {precision:10}{found:8.2f}%{found - exact:+8.2f}{model.report.bytes_after:9}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
