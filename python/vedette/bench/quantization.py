"""Arrays in few bits against the same formulas in NumPy: rounding, and back.

    vedette bench quantization

The floor is the memory that must move at the speed of a copy: what is rounded is read for its range and once
more, and bytes are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette import _native, runtime
from vedette.bench.timing import HEADER, Case, Measured, copy_speed, measure
from vedette.quantization import QuantizedTensor, quantize
from vedette.quantization.layout import Layout
from vedette.quantization.parameters import INTEGER_RANGES, affine_parameters

__all__ = ["HEADER", "run"]

SHAPE = (1024, 2048)

Floats = NDArray[np.float32]


def run(threads: list[int], pairs: int) -> Iterator[Measured]:
    """Measure every case with each number of threads."""
    speed = copy_speed()
    for count in threads:
        runtime.set_num_threads(count)
        for case in cases():
            yield measure(case, count, pairs, speed, "quantization")
    runtime.set_num_threads(None)


def cases() -> Iterator[Case]:
    """Two million numbers by tensor, by channel and in groups; as half floats; and back."""
    x = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
    out = np.empty_like(x)
    for name, dtype, axis, group in (
        ("uint8", "uint8", None, None),
        ("int8 by row", "int8", 0, None),
        ("int8 by column", "int8", 1, None),
        ("int4 in groups of 64", "int4", None, 64),
    ):
        layout = Layout.of(SHAPE, axis, group)
        q = quantize(x, dtype, axis=axis, group_size=group)
        stored = q.data.nbytes / 1e6
        yield Case(
            f"quantize {name}",
            "NumPy",
            lambda isa, layout=layout, dtype=dtype: _rounded(layout, x, dtype, isa),  # type: ignore[misc]
            lambda dtype=dtype, axis=axis, group=group: _numpy_rounded(x, dtype, axis, group),  # type: ignore[misc]
            2 * x.nbytes / 1e6 + stored,
        )
        yield Case(
            f"dequantize {name}",
            "NumPy",
            lambda isa, layout=layout, q=q: layout.dequantize(
                q.data, q.scale, q.zero_point, q.dtype, out, isa
            ),  # type: ignore[misc]
            lambda q=q: _numpy_restored(q, out),  # type: ignore[misc]
            x.nbytes / 1e6 + stored,
        )
    bits = np.empty(x.size, np.uint16)
    for dtype in ("float16", "bfloat16"):
        yield Case(
            f"to {dtype}",
            "NumPy",
            lambda isa, dtype=dtype: _native.to_halves(x.reshape(-1), dtype, bits, isa=isa),  # type: ignore[misc]
            lambda dtype=dtype: _numpy_half(x, dtype),  # type: ignore[misc]
            1.5 * x.nbytes / 1e6,
        )


def _rounded(layout: Layout, x: Floats, dtype: str, isa: str) -> NDArray[np.uint8]:
    found = layout.ranges(x, isa)
    assert found is not None
    scale, zero_point = affine_parameters(*found, dtype, symmetric=dtype.startswith("int"))
    return layout.quantize(x, scale, zero_point, dtype, isa)


def _numpy_rounded(x: Floats, dtype: str, axis: int | None, group: int | None) -> NDArray[Any]:
    rows = x.reshape(x.shape[0], -1, group) if group else x
    over = -1 if group else None if axis is None else 1 - axis
    low, high = (found(rows, axis=over, keepdims=True) for found in (np.min, np.max))
    scale, zero_point = affine_parameters(low, high, dtype, symmetric=dtype.startswith("int"))
    least, greatest = INTEGER_RANGES[dtype]
    steps = np.clip(np.rint(rows / scale) + zero_point, least, greatest)
    integers = steps.astype(np.int8 if least < 0 else np.uint8).reshape(x.shape)
    if dtype != "int4":
        return np.asarray(integers)
    halves = integers.view(np.uint8) & 15
    return np.asarray(halves[:, 0::2] | (halves[:, 1::2] << 4))


def _numpy_restored(q: QuantizedTensor, out: Floats) -> None:
    scale, zero_point = q.scale, q.zero_point
    assert scale is not None
    assert zero_point is not None
    integers = q.integers()
    if q.group_size is not None:
        integers = integers.reshape(*scale.shape, q.group_size)
        scale, zero_point = scale[..., None], zero_point[..., None]
    elif q.axis == 0:
        scale, zero_point = scale[:, None], zero_point[:, None]
    rows = out.reshape(integers.shape)
    np.subtract(integers, zero_point, out=rows, casting="unsafe", dtype=np.float32)
    np.multiply(rows, scale, out=rows)


def _numpy_half(x: Floats, dtype: str) -> NDArray[Any]:
    if dtype == "float16":
        return x.astype(np.float16)
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
