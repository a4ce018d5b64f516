"""How far a quantised tensor is from what it stands for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vedette.errors import InputError
from vedette.quantization.tensors import QuantizedTensor


def mse(x: ArrayLike, q: ArrayLike | QuantizedTensor) -> float:
    """Mean of the squared differences."""
    exact, approximate = _pair(x, q)
    return float(np.mean((exact - approximate) ** 2)) if exact.size else 0.0


def sqnr(x: ArrayLike, q: ArrayLike | QuantizedTensor) -> float:
    """Signal to noise, ``10 log10(sum x^2 / sum (x - q)^2)``, in dB; infinite where both are equal."""
    exact, approximate = _pair(x, q)
    noise, signal = float(np.sum((exact - approximate) ** 2)), float(np.sum(exact**2))
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def cosine(x: ArrayLike, q: ArrayLike | QuantizedTensor) -> float:
    """Cosine of the angle between both; one where both are all zeros."""
    exact, approximate = _pair(x, q)
    lengths = float(np.linalg.norm(exact) * np.linalg.norm(approximate))
    if lengths == 0.0:
        return 1.0 if not exact.any() and not approximate.any() else 0.0
    return float(np.clip(exact.reshape(-1) @ approximate.reshape(-1) / lengths, -1.0, 1.0))


def maximum_error(x: ArrayLike, q: ArrayLike | QuantizedTensor) -> float:
    """The largest absolute difference."""
    exact, approximate = _pair(x, q)
    return float(np.abs(exact - approximate).max(initial=0.0))


def _pair(x: ArrayLike, q: ArrayLike | QuantizedTensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    other: Any = q.dequantize() if isinstance(q, QuantizedTensor) else q
    exact, approximate = np.asarray(x, np.float64), np.asarray(other, np.float64)
    if exact.shape != approximate.shape:
        raise InputError(f"expected two arrays of one shape, got {exact.shape} and {approximate.shape}")
    return exact, approximate
