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


def round_by_input(weights: Array, scale: Array, moments: Array, groups: int) -> NDArray[np.int8]:
    """Rounds weights of a convolution so that their errors cancel in what the input mostly is.

    One after the other, those of the strongest channels first, each weight is rounded towards making up for
    the errors so far, as far as they are along the mean of the input; neighbouring places of an image are
    taken for equal. For an input of covariance ``D + mean mean'`` this is the rounding of E. Frantar et
    al., "GPTQ", 2022, without its look ahead.

    Parameters
    ----------
    weights : array, (O, C / groups, ...)
    scale : array, (O,)
    moments : array, (2, C)
        Mean and root mean square of each input channel.
    """
    outputs, inner = weights.shape[0] // groups, weights.shape[1]
    real = weights.reshape(groups, outputs, inner, -1).astype(np.float32)
    step = scale.reshape(groups, outputs).astype(np.float32)
    mean, power = moments[0].reshape(groups, inner), (moments[1] ** 2).reshape(groups, inner)
    if inner == 1:
        # A channel by itself: what its taps see is almost the same number.
        mean = moments[1].reshape(groups, inner)
    rest = np.maximum(power - mean**2, 0.02 * power + 1e-12)
    gain = mean / (rest + mean**2)
    order = np.argsort(-power, axis=1, kind="stable")
    error = np.zeros((groups, outputs), np.float32)
    rounded = np.zeros(real.shape, np.float32)
    group = np.arange(groups)
    for tap in range(real.shape[3]):
        for at in range(inner):
            channel = order[:, at]
            exact = real[group, :, channel, tap]
            target = exact - error * gain[group, channel][:, None]
            found = np.clip(np.rint(target / step), -127, 127)
            rounded[group, :, channel, tap] = found
            error += (found * step - exact) * mean[group, channel][:, None]
    return rounded.reshape(weights.shape).astype(np.int8)


def rounded_weights(weights: Array, scale: Array, axis: int) -> QuantizedWeights:
    """Weights rounded to the nearest multiples of their channel's scale."""
    shape = [1] * weights.ndim
    shape[axis] = -1
    steps = np.rint(weights / scale.reshape(shape))
    return QuantizedWeights(np.clip(steps, -127, 127).astype(np.int8), scale.astype(np.float32), axis)
