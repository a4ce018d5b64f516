"""Weights as signed 8-bit integers with one scale for each output channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vedette.model.graph import Array, Node

_SHRINKS = np.linspace(1.0, 0.7, 13)


@dataclass(frozen=True, slots=True)
class QuantizedWeights:
    """``real = integers * scale``; one scale for each output channel, along ``axis`` of the integers."""

    integers: NDArray[np.int8]
    scale: NDArray[np.float32]
    axis: int

    def dequantize(self) -> NDArray[np.float32]:
        """The real numbers."""
        shape = [1] * self.integers.ndim
        shape[self.axis] = -1
        return np.asarray(self.integers * self.scale.reshape(shape), np.float32)


def output_axis(node: Node) -> int:
    """The axis of weights that counts output channels; in a transposed convolution, those of a group."""
    if node.op == "Conv":
        return 0
    if node.op == "ConvTranspose" or node.attributes.get("trans_b") is not True:
        return 1
    return 0


def quantize_weights(weights: Array, axis: int, importance: Array | None = None) -> QuantizedWeights:
    """Rounds weights with, for each channel, the symmetric range of the least squared error.

    Parameters
    ----------
    importance : array, optional
        How much the error of each weight counts, broadcast against the weights: the mean square of the
        input that it is multiplied with.
    """
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.float32)
    weighing = np.ones((1, 1), np.float32)
    if importance is not None:
        spread = np.broadcast_to(importance, weights.shape)
        weighing = np.moveaxis(spread, axis, 0).reshape(rows.shape).astype(np.float32)
    largest = np.abs(rows).max(1, initial=0.0)
    largest = np.where(largest > 0, largest, 1.0).astype(np.float32)
    best = np.full(rows.shape[0], np.inf, np.float32)
    scale = np.zeros(rows.shape[0], np.float32)
    for shrink in _SHRINKS:
        candidate = np.maximum(largest * np.float32(shrink / 127), np.finfo(np.float32).tiny)
        rounded = np.clip(np.rint(rows / candidate[:, None]), -127, 127) * candidate[:, None]
        error = (((rows - rounded) ** 2) * weighing).sum(1)
        better = error < best
        best, scale = np.where(better, error, best), np.where(better, candidate, scale)
    return rounded_weights(weights, scale, axis)


def rounded_weights(weights: Array, scale: Array, axis: int) -> QuantizedWeights:
    """Weights rounded to the nearest multiples of their channel's scale."""
    shape = [1] * weights.ndim
    shape[axis] = -1
    steps = np.rint(weights / scale.reshape(shape))
    return QuantizedWeights(np.clip(steps, -127, 127).astype(np.int8), scale.astype(np.float32), axis)
