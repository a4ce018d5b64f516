"""Tensors of any strides at every level, with one thread and two, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vedette import _native

Array = NDArray[Any]
DIMS = st.integers(1, 40)
FLOATS = st.sampled_from(["float32", "float64"])
VIEWS = st.sampled_from(["plain", "mirrored", "steps", "swapped", "shifted"])


def lying(array: Array, view: str) -> Array:
    """The same elements in other memory: with gaps, backwards, other axes first, not on a cache line."""
    if view == "mirrored":
        return np.flip(np.flip(array).copy())
    if view == "steps":
        wide = np.zeros([2 * dim for dim in array.shape], array.dtype)
        wide[tuple(slice(None, None, 2) for _ in array.shape)] = array
        return wide[tuple(slice(None, None, 2) for _ in array.shape)]
    if view == "swapped":
        return np.asfortranarray(array)
    if view == "shifted":
        flat = np.zeros(array.size + 1, array.dtype)
        flat[1:] = array.reshape(-1)
        return flat[1:].reshape(array.shape)
    return array


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    """Small whole numbers, whose products and sums are exact in any order."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(dtype)


def everywhere(function: Any) -> list[Array]:
    return [function(threads, isa) for isa in _native.available_isas() for threads in (1, 2)]


@settings(deadline=None, max_examples=150)
@given(
    m=DIMS,
    k=st.integers(0, 70),
    n=DIMS,
    batch=st.sampled_from([((), ()), ((3,), ()), ((), (2,)), ((2, 1), (1, 3)), ((4,), (4,))]),
    dtype=FLOATS,
    views=st.tuples(VIEWS, VIEWS, VIEWS),
)
def test_matmul(m: int, k: int, n: int, batch: Any, dtype: str, views: tuple[str, str, str]) -> None:
    a = lying(numbers((*batch[0], m, k), dtype, 1), views[0])
    b = lying(numbers((*batch[1], k, n), dtype, 2), views[1])
    expected = np.matmul(a, b)
    for found in everywhere(lambda threads, isa: _native.matmul(a, b, None, threads, isa)):
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
    out = lying(np.full_like(expected, 7), views[2])
    assert _native.matmul(a, b, out) is out
    assert np.array_equal(out, expected)


@settings(deadline=None, max_examples=30)
@given(k=st.integers(1, 300), n=st.integers(1, 200), dtype=FLOATS, view=VIEWS)
def test_matmul_of_vectors(k: int, n: int, dtype: str, view: str) -> None:
    row, matrix = numbers((k,), dtype, 1), lying(numbers((k, n), dtype, 2), view)
    for a, b in ((row, matrix), (matrix.T, row), (row, row), (row[::-1], matrix)):
        for found in everywhere(lambda threads, isa, a=a, b=b: _native.matmul(a, b, None, threads, isa)):
            assert np.array_equal(found, np.matmul(a, b))


SHAPES = st.sampled_from(
    [
        ((5, 7), (5, 7)),
        ((5, 7), (7,)),
        ((5, 1), (1, 7)),
        ((3, 5, 70), (5, 1)),
        ((), (4, 4)),
        ((2, 600), (600,)),
    ]
)


@settings(deadline=None, max_examples=150)
@given(
    shapes=SHAPES,
    dtype=st.sampled_from(["float32", "float64", "float16", "int32", "uint8", "int64"]),
    op=st.sampled_from(["add", "subtract", "multiply", "divide"]),
    views=st.tuples(VIEWS, VIEWS, VIEWS),
)
def test_elementwise(shapes: Any, dtype: str, op: str, views: tuple[str, str, str]) -> None:
    a = lying(np.abs(numbers(shapes[0], "int64", 1)).astype(dtype), views[0])
    b = lying((np.abs(numbers(shapes[1], "int64", 2)) + 1).astype(dtype), views[1])
    if op == "divide" and not dtype.startswith("float"):
        op = "add"
    expected = getattr(np, op)(a, b)
    function = getattr(_native, op)
    for found in everywhere(lambda threads, isa: function(a, b, None, threads, isa)):
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
    out = lying(np.zeros_like(expected), views[2])
    assert np.array_equal(function(a, b, out), expected)
    if a.shape == expected.shape:
        assert np.array_equal(function(a, b, a), expected)
        assert np.array_equal(a, expected)


@settings(deadline=None, max_examples=100)
@given(
    shape=st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple),
    seed=st.integers(0, 99),
    op=st.sampled_from(["sum", "mean", "max", "min"]),
    dtype=FLOATS,
    view=VIEWS,
    keep=st.booleans(),
)
def test_reductions(shape: tuple[int, ...], seed: int, op: str, dtype: str, view: str, keep: bool) -> None:
    x = lying(numbers(shape, dtype, seed), view)
    count = seed % (len(shape) + 1)
    axes = list(np.random.default_rng(seed).permutation(len(shape))[:count])
    expected = getattr(np, op)(x, axis=tuple(axes), keepdims=keep)
    for found in everywhere(lambda threads, isa: _native.reduce(op, x, axes, keep, None, threads, isa)):
        assert np.shape(found) == np.shape(expected)
        # A mean is a rounded quotient; the sums before it are exact.
        assert np.allclose(found, expected, rtol=1e-6, atol=0)
    assert np.allclose(_native.reduce(op, x, None), getattr(np, op)(x), rtol=1e-6, atol=0)
    assert np.array_equal(_native.argmax(x, -1, keep), np.argmax(x, axis=-1, keepdims=keep))


@settings(deadline=None, max_examples=60)
@given(
    shape=st.lists(st.integers(1, 20), min_size=1, max_size=3).map(tuple),
    axis=st.integers(-1, 0),
    dtype=FLOATS,
    view=VIEWS,
)
def test_softmax(shape: tuple[int, ...], axis: int, dtype: str, view: str) -> None:
    x = lying(numbers(shape, dtype, 3), view)
    powers = np.exp(x.astype(np.float64) - x.max(axis=axis, keepdims=True))
    expected = powers / powers.sum(axis=axis, keepdims=True)
    for found in everywhere(lambda threads, isa: _native.softmax(x, axis, None, threads, isa)):
        # A few units in the last place: the exponential is a polynomial, the sum is in the element type.
        assert np.allclose(found, expected, rtol=2e-6 if dtype == "float32" else 1e-13, atol=0)
    assert np.allclose(_native.softmax(x, axis, x), expected, rtol=2e-6, atol=0)


def windows(
    x: Array, kernel: tuple[int, int], stride: Any, padding: Any, dilation: Any, fill: float
) -> Array:
    """Every window of padded images: ``(batch, channels, rows, columns, *kernel)``."""
    edges = ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2)
    padded = np.pad(x.astype(np.float64), edges, constant_values=fill)
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(deadline=None, max_examples=100)
@given(
    batch=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 6]),
    filters=st.integers(1, 3),
    size=st.tuples(st.integers(7, 20), st.integers(7, 20)),
    kernel=PAIRS,
    stride=PAIRS,
    dilation=PAIRS,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    views=st.tuples(VIEWS, VIEWS, VIEWS),
)
def test_conv2d(
    batch: int,
    groups: int,
    filters: int,
    size: Any,
    kernel: Any,
    stride: Any,
    dilation: Any,
    padding: Any,
    views: Any,
) -> None:
    x = lying(numbers((batch, 6, *size), "float32", 1), views[0])
    w = lying(numbers((filters * groups, 6 // groups, *kernel), "float32", 2), views[1])
    bias = numbers((filters * groups,), "float32", 3)
    found_in = windows(x, kernel, stride, padding, dilation, 0.0)
    parts = np.split(found_in, groups, axis=1)
    weights = np.split(w.astype(np.float64), groups, axis=0)
    expected = np.concatenate(
        [np.einsum("nchwij,ocij->nohw", part, w) for part, w in zip(parts, weights, strict=True)], axis=1
    )
    expected += bias[:, None, None]
    rest = (stride, padding, dilation, groups)
    for found in everywhere(lambda threads, isa: _native.conv2d(x, w, bias, *rest, None, threads, isa)):
        assert np.array_equal(found, expected)
    out = lying(np.zeros(expected.shape, np.float32), views[2])
    assert np.array_equal(_native.conv2d(x, w, bias, *rest, out), expected)


@settings(deadline=None, max_examples=100)
@given(
    channels=st.integers(1, 20),
    size=st.tuples(st.integers(5, 20), st.integers(5, 20)),
    kernel=st.tuples(st.integers(2, 4), st.integers(2, 4)),
    stride=PAIRS,
    padded=st.booleans(),
    views=st.tuples(VIEWS, VIEWS),
)
def test_pooling(channels: int, size: Any, kernel: Any, stride: Any, padded: bool, views: Any) -> None:
    x = lying(numbers((2, channels, *size), "float32", 1), views[0])
    padding = (1, 1) if padded else (0, 0)
    largest = windows(x, kernel, stride, padding, (1, 1), -np.inf).max(axis=(4, 5))
    means = windows(x, kernel, stride, padding, (1, 1), 0.0).mean(axis=(4, 5))
    rest = (kernel, stride, padding, (1, 1), False, True)
    for average, expected in ((False, largest), (True, means)):
        for found in everywhere(
            lambda threads, isa, average=average: _native.pool2d(x, average, *rest, None, threads, isa)
        ):
            # A quotient of an exact sum, rounded to float32.
            assert np.allclose(found, expected, rtol=1e-6, atol=0)
        out = lying(np.zeros(expected.shape, np.float32), views[1])
        assert np.allclose(_native.pool2d(x, average, *rest, out), expected, rtol=1e-6, atol=0)
