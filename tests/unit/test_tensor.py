"""What tensor functions take and refuse, and what the GIL and forks mean to them."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

import vedette as vd
from vedette.errors import InputError, MemoryLimitError

GRID = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_lists_and_numbers_take_the_dtype_they_meet() -> None:
    assert vd.tensor.matmul([[1, 2], [3, 4]], [[1, 0], [0, 1]]).dtype == np.float32
    wide = GRID.astype(np.float64)
    assert vd.tensor.add(wide, 1).dtype == np.float64
    assert vd.tensor.add(1.5, GRID).dtype == np.float32
    assert np.array_equal(vd.tensor.subtract([1, 2, 3, 4], GRID), [1, 2, 3, 4] - GRID)
    assert np.array_equal(vd.tensor.multiply(GRID.astype(np.int32), [1, 2, 3, 4]), GRID * [1, 2, 3, 4])
    assert np.array_equal(vd.tensor.scale(GRID, 0.5), GRID * np.float32(0.5))
    assert vd.tensor.sum([1, 2, 3]) == 6
    assert vd.tensor.softmax([0.0, 0.0]).tolist() == [0.5, 0.5]


class Foreign:
    """Something with the array interface alone."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.__array_interface__ = array.__array_interface__


class Tensor:
    """Something with DLPack alone."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


@pytest.mark.parametrize("wrap", [Foreign, Tensor, memoryview])
def test_arrays_of_others(wrap: Any) -> None:
    assert np.array_equal(vd.tensor.add(wrap(GRID), GRID), 2 * GRID)


def test_unaligned_and_odd_strides_are_read_and_written() -> None:
    packed = np.zeros((5, 9), np.uint8)
    odd = packed[:, 1:].view(np.float32)
    odd[:] = np.arange(10).reshape(5, 2)
    assert np.array_equal(vd.tensor.add(odd, odd), 2 * odd)
    assert vd.tensor.scale(odd, 3.0, out=odd) is odd
    assert np.array_equal(odd, 3.0 * np.arange(10).reshape(5, 2))


def test_what_does_not_fit_is_refused() -> None:
    frozen = GRID.copy()
    frozen.flags.writeable = False
    base = np.zeros((4, 4), np.float32)
    image = np.zeros((1, 4, 8, 8), np.float32)
    weight = np.zeros((2, 4, 3, 3), np.float32)
    strided = np.lib.stride_tricks.as_strided(np.zeros(9, np.float32), (3, 4), (4, 4))
    cases: list[tuple[Any, str]] = [
        (lambda: vd.tensor.matmul(GRID, GRID), "4 columns against 3 rows"),
        (lambda: vd.tensor.matmul(GRID, 2.0), "scalar"),
        (lambda: vd.tensor.matmul(GRID.astype(int), GRID.astype(int).T), "float32 or float64"),
        (lambda: vd.tensor.matmul(base, base, out=base), "overlaps"),
        (lambda: vd.tensor.add(GRID, GRID.astype(np.float64)), "one dtype"),
        (lambda: vd.tensor.add(GRID, np.zeros(3, np.float32)), "do not broadcast"),
        (lambda: vd.tensor.add(GRID, GRID, out=frozen), "read-only"),
        (lambda: vd.tensor.add(GRID, GRID, out=strided), "overlap each other"),
        (lambda: vd.tensor.add(base[1:], base[1:], out=base[:-1]), "overlaps"),
        (lambda: vd.tensor.add(base, base[0], out=base), "overlaps"),
        (lambda: vd.tensor.add(GRID, GRID, out=np.zeros((4, 3), np.float32)), "shape"),
        (lambda: vd.tensor.add(GRID > 1, GRID > 1), "bool"),
        (lambda: vd.tensor.add(GRID, [[1], [2, 3]]), "cannot make float32"),
        (lambda: vd.tensor.add(GRID.astype(np.uint8), [0.5]), "expected uint8"),
        (lambda: vd.tensor.add(GRID.astype(np.uint8), 300), "cannot make uint8"),
        (lambda: vd.tensor.add(np.array(["a"]), 1), "dtype <U1"),
        (lambda: vd.tensor.divide(GRID.astype(int), GRID.astype(int)), "divide"),
        (lambda: vd.tensor.scale(GRID.astype(int), 2), "float32 or float64"),
        (lambda: vd.tensor.sum(GRID, axis=2), "axis 2 is out of range for 2 axes"),
        (lambda: vd.tensor.sum(GRID, axis=(0, -2)), "twice"),
        (lambda: vd.tensor.max(np.zeros((0, 3), np.float32)), "nothing to reduce"),
        (lambda: vd.tensor.argmax(np.zeros((3, 0), np.float32)), "nothing to search"),
        (lambda: vd.tensor.softmax(GRID, axis=5), "out of range"),
        (lambda: vd.tensor.conv2d(image[0], weight), "4 axes"),
        (lambda: vd.tensor.conv2d(image, weight[:, :3]), "input channels"),
        (lambda: vd.tensor.conv2d(image, weight, np.zeros(3, np.float32)), "each of 2 channels"),
        (lambda: vd.tensor.conv2d(image, weight, stride=0), "positive"),
        (lambda: vd.tensor.conv2d(image, weight, padding=-1), "negative"),
        (lambda: vd.tensor.conv2d(image, weight, groups=3), "groups"),
        (lambda: vd.tensor.conv2d(image, weight, out=image[:, :2, 1:7, 1:7]), "overlaps"),
        (lambda: vd.tensor.max_pool2d(image, 2, padding=2), "half the kernel"),
        (lambda: vd.tensor.max_pool2d(image.astype(np.float64), 2), "float32"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()


def test_results_without_memory_for_them_are_refused() -> None:
    column = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (1 << 40, 1), (0, 0))
    with pytest.raises(MemoryLimitError, match="no memory"):
        vd.tensor.add(column, column.reshape(1, -1))


def test_empty_arrays() -> None:
    nothing = np.zeros((0, 4), np.float32)
    assert vd.tensor.matmul(nothing, GRID.T).shape == (0, 3)
    assert not vd.tensor.matmul(np.zeros((2, 0), np.float32), np.zeros((0, 3), np.float32)).any()
    assert vd.tensor.add(nothing, nothing).shape == (0, 4)
    assert vd.tensor.sum(nothing, axis=0).tolist() == [0, 0, 0, 0]
    assert vd.tensor.softmax(nothing).shape == (0, 4)


def test_results_of_convolution_are_channels_last_unless_told_otherwise() -> None:
    image = np.random.default_rng(0).standard_normal((2, 3, 9, 9), dtype=np.float32)
    weight = np.random.default_rng(1).standard_normal((5, 3, 3, 3), dtype=np.float32)
    found = vd.tensor.conv2d(image, weight, padding=1)
    assert found.shape == (2, 5, 9, 9)
    assert found.transpose(0, 2, 3, 1).flags.c_contiguous
    out = np.empty((2, 5, 9, 9), np.float32)
    assert vd.tensor.conv2d(image, weight, padding=1, out=out) is out
    assert np.array_equal(out, found)
    pooled = vd.tensor.max_pool2d(found, 2)
    assert np.array_equal(pooled, found[:, :, :8, :8].reshape(2, 5, 4, 2, 4, 2).max(axis=(3, 5)))
    assert vd.tensor.max_pool2d(found, 2, ceil_mode=True).shape == (2, 5, 5, 5)
    padded = vd.tensor.avg_pool2d(np.ones((1, 1, 4, 4), np.float32), 2, padding=1)
    assert padded[0, 0, 0, 0] == 0.25
    whole = vd.tensor.avg_pool2d(np.ones((1, 1, 4, 4), np.float32), 2, padding=1, count_padding=False)
    assert (whole == 1).all()


def test_long_work_lets_other_threads_run() -> None:
    matrix = np.ones((1200, 1200), np.float32)
    turns: list[int] = []
    stop = threading.Event()

    def count() -> None:
        while not stop.wait(0):
            turns.append(len(turns))

    other = threading.Thread(target=count)
    other.start()
    before = len(turns)
    vd.tensor.matmul(matrix, matrix)
    after = len(turns)
    stop.set()
    other.join()
    # With the GIL held throughout, the other thread would not get a single turn.
    assert after > before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_children_compute() -> None:
    matrix = np.ones((600, 600), np.float32)
    vd.tensor.matmul(matrix, matrix)
    child = os.fork()
    if child == 0:
        good = bool((vd.tensor.matmul(matrix, matrix) == 600).all())
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
