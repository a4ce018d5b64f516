"""Arithmetic on arrays: matrix products, elementwise operations, convolution, pooling, softmax, reductions.

The kernels are the engine's own. What holds for all of them:

* Arrays of any strides, negative ones too, are read where they lie. NumPy arrays, whatever offers
  ``__array_interface__``, the buffer protocol or DLPack, nested lists and numbers are taken. Lists and
  numbers take the dtype of the array they meet, ``float32`` where there is none; two arrays must have one
  dtype.
* ``out=`` is written and returned. It must have the result's dtype and shape and be writable. Elementwise
  operations and softmax take an operand itself as ``out``; anything else that overlaps one is refused.
* The GIL is released for work of more than a few microseconds, and
  :func:`vedette.runtime.set_num_threads` says how many threads take part.
* ``InputError`` says what is wrong with an argument, ``MemoryLimitError`` that there is no memory for a
  result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from vedette import _native
from vedette.errors import InputError

__all__ = [
    "add",
    "argmax",
    "avg_pool2d",
    "conv2d",
    "divide",
    "matmul",
    "max",
    "max_pool2d",
    "mean",
    "min",
    "multiply",
    "scale",
    "softmax",
    "subtract",
    "sum",
]

Pair: TypeAlias = int | tuple[int, int]
"""One value for rows and columns, or one for each."""

Axes: TypeAlias = int | Sequence[int] | None


def matmul(a: Any, b: Any, *, out: Any = None) -> Any:
    """The matrix product, by ``numpy.matmul``'s rules: batches broadcast, vectors are rows or columns.

    Parameters
    ----------
    a, b
        float32 or float64.
    out
        Where to write; apart from both operands.

    Examples
    --------
    >>> import vedette as vd
    >>> vd.tensor.matmul([[1.0, 2.0]], [[3.0], [4.0]])
    array([[11.]], dtype=float32)
    """
    return _native.matmul(a, b, out)


def add(a: Any, b: Any, *, out: Any = None) -> Any:
    """``a + b``, broadcast; integers wrap."""
    return _native.add(a, b, out)


def subtract(a: Any, b: Any, *, out: Any = None) -> Any:
    """``a - b``, broadcast; integers wrap."""
    return _native.subtract(a, b, out)


def multiply(a: Any, b: Any, *, out: Any = None) -> Any:
    """``a * b``, broadcast; integers wrap."""
    return _native.multiply(a, b, out)


def divide(a: Any, b: Any, *, out: Any = None) -> Any:
    """``a / b`` of floating-point values, broadcast; by zero it is infinite or NaN, without a warning."""
    return _native.divide(a, b, out)


def scale(x: Any, factor: float, *, out: Any = None) -> Any:
    """``x * factor`` of float32 or float64."""
    return _native.scale(x, factor, out)


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    out: Any = None,
) -> Any:
    """Convolution as networks have it: a cross-correlation with zeros around the image.

    Parameters
    ----------
    x
        float32, ``(batch, channels, height, width)``.
    weight
        float32, ``(filters, channels / groups, rows, columns)``.
    bias
        float32, one a filter.
    out
        Where to write, of any strides. Without it the result is a new array in channels-last memory, which is
        what the kernels write and read fastest.
    """
    return _native.conv2d(
        x,
        weight,
        bias,
        _pair("stride", stride),
        _pair("padding", padding),
        _pair("dilation", dilation),
        groups,
        out,
    )


def max_pool2d(
    x: Any,
    kernel: Pair,
    *,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    out: Any = None,
) -> Any:
    """The largest value under each window; padding never counts.

    Parameters
    ----------
    x
        float32, ``(batch, channels, height, width)``.
    stride
        The kernel's size where not given.
    padding
        At most half the kernel.
    ceil_mode
        Whether a last window that is only partly within the image counts.
    out
        As for :func:`conv2d`.
    """
    size = _pair("kernel", kernel)
    step = size if stride is None else _pair("stride", stride)
    spread = _pair("dilation", dilation)
    return _native.pool2d(x, False, size, step, _pair("padding", padding), spread, ceil_mode, False, out)


def avg_pool2d(
    x: Any,
    kernel: Pair,
    *,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_padding: bool = True,
    out: Any = None,
) -> Any:
    """The mean under each window, over the zeros of the padding too unless ``count_padding`` is false.

    The other parameters are those of :func:`max_pool2d`.
    """
    size = _pair("kernel", kernel)
    step = size if stride is None else _pair("stride", stride)
    return _native.pool2d(
        x, True, size, step, _pair("padding", padding), (1, 1), ceil_mode, count_padding, out
    )


def softmax(x: Any, axis: int = -1, *, out: Any = None) -> Any:
    """``exp(x) / sum(exp(x))`` along an axis, safe against overflow; of float32 or float64."""
    return _native.softmax(x, axis, out)


def sum(x: Any, axis: Axes = None, *, keepdims: bool = False, out: Any = None) -> Any:
    """The sum over axes, over all where none are named; of float32 or float64."""
    return _native.reduce("sum", x, _axes(axis), keepdims, out)


def mean(x: Any, axis: Axes = None, *, keepdims: bool = False, out: Any = None) -> Any:
    """The mean over axes, over all where none are named; of float32 or float64."""
    return _native.reduce("mean", x, _axes(axis), keepdims, out)


def max(x: Any, axis: Axes = None, *, keepdims: bool = False, out: Any = None) -> Any:
    """The largest element over axes, over all where none are named; NaN where there is one."""
    return _native.reduce("max", x, _axes(axis), keepdims, out)


def min(x: Any, axis: Axes = None, *, keepdims: bool = False, out: Any = None) -> Any:
    """The smallest element over axes, over all where none are named; NaN where there is one."""
    return _native.reduce("min", x, _axes(axis), keepdims, out)


def argmax(x: Any, axis: int = -1, *, keepdims: bool = False, out: Any = None) -> Any:
    """The place of the largest element along an axis, the first of equal ones, as int64."""
    return _native.argmax(x, axis, keepdims, out)


def _pair(name: str, value: Pair) -> tuple[int, int]:
    rows, columns = (value, value) if isinstance(value, int) else value
    if rows < 0 or columns < 0:
        raise InputError(f"{name} must not be negative, got {value}")
    return rows, columns


def _axes(axis: Axes) -> list[int] | None:
    if axis is None:
        return None
    return [axis] if isinstance(axis, int) else list(axis)
