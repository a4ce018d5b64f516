"""Images of every element type, strides and alignment, at every level, against what NumPy computes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vedette import _native

SIDES = st.integers(1, 90)
DTYPES = ("uint8", "uint16", "float32")


@st.composite
def images(draw: st.DrawFn, channels: int) -> NDArray[Any]:
    """A view that may be mirrored, stepped, turned, and start in the middle of an element's alignment."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = (draw(SIDES), draw(SIDES), channels)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    if dtype.kind == "f":
        values = random.random(shape, dtype=np.float32)
    else:
        values = random.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    offset = draw(st.integers(0, dtype.itemsize))
    block = np.zeros(values.nbytes + offset, np.uint8)
    image = block[offset:].view(dtype).reshape(shape)
    image[...] = values
    step = draw(st.sampled_from([1, -1, 2, -3]))
    if draw(st.booleans()):
        image = image.swapaxes(0, 1)
    return image[::step, :: draw(st.sampled_from([1, -1, 2]))]


def at_every_level(function: Any, image: NDArray[Any], expected: NDArray[Any], within: float = 0) -> None:
    """Check the results against NumPy's, into arrays with gaps and without."""
    for isa in _native.available_isas():
        for gap in (0, 1):
            out = np.zeros((*expected.shape[:-1], expected.shape[-1] + gap), image.dtype)[..., gap:]
            found = function(image, out, isa)
            assert found is out
            difference = np.abs(out.astype(np.float64) - expected)
            assert difference.max() <= within, isa


@settings(deadline=None, max_examples=60)
@given(image=st.sampled_from([3, 4]).flatmap(images))
def test_gray(image: NDArray[Any]) -> None:
    colors = image[..., :3]
    if image.dtype == np.float32:
        # Three products and two sums of numbers up to one, each rounded to 24 bits.
        expected, within = colors.astype(np.float64) @ [0.299, 0.587, 0.114], 3e-7
    else:
        sums = colors.astype(np.int64) @ np.array([9798, 19235, 3735]) + (1 << 14)
        expected, within = (sums >> 15).astype(np.float64), 0
    at_every_level(lambda i, o, isa: _native.to_gray(i, "opencv", o, 1, isa), image, expected, within=within)


@settings(deadline=None, max_examples=60)
@given(image=st.sampled_from([1, 3]).flatmap(images), part=st.floats(0, 1))
def test_threshold_and_difference(image: NDArray[Any], part: float) -> None:
    top = 1.0 if image.dtype == np.float32 else float(np.iinfo(image.dtype).max)
    value = float(np.float32(part * top))
    at_every_level(
        lambda i, o, isa: _native.threshold(i, value, top, o, 1, isa),
        image,
        np.where(image.astype(np.float64) > value, top, 0.0),
    )
    other = np.ascontiguousarray(image)[::-1]
    at_every_level(
        lambda i, o, isa: _native.absdiff(i, other, o, 1, isa),
        image,
        np.abs(image.astype(np.float64) - other).astype(image.dtype).astype(np.float64),
    )


def tents(samples: int, outputs: int) -> NDArray[np.float64]:
    """Weights of bilinear sampling with half-pixel centres and repeated borders: ``[output, sample]``."""
    weights = np.zeros((outputs, samples))
    for output in range(outputs):
        centre = (output + 0.5) * samples / outputs - 0.5
        first = int(np.floor(centre))
        for sample, weight in ((first, 1 - (centre - first)), (first + 1, centre - first)):
            weights[output, min(max(sample, 0), samples - 1)] += weight
    return weights


@settings(deadline=None, max_examples=80)
@given(image=st.sampled_from([1, 2, 3, 4]).flatmap(images), size=st.tuples(SIDES, SIDES))
def test_resize(image: NDArray[Any], size: tuple[int, int]) -> None:
    height, width = image.shape[:2]
    rows, columns = (
        np.floor(np.arange(outputs) * (samples / outputs)).astype(int)
        for samples, outputs in zip((height, width), size, strict=True)
    )
    at_every_level(
        lambda i, o, isa: _native.resize_image(i, size, "nearest", False, "opencv", o, 1, isa),
        image,
        image[rows][:, columns].astype(np.float64),
    )
    expected = np.einsum(
        "yh,xw,hwc->yxc", tents(height, size[0]), tents(width, size[1]), image.astype(np.float64)
    )
    # Whole levels are rounded once; float32 sums of four products of numbers up to one.
    within = 1e-6 if image.dtype == np.float32 else 0.6
    at_every_level(
        lambda i, o, isa: _native.resize_image(i, size, "bilinear", False, "opencv", o, 1, isa),
        image,
        expected,
        within,
    )
