"""Quantised tensors: the formulas, what they cost, and files of them."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vedette import _native
from vedette import quantization as vq
from vedette.errors import InputError
from vedette.quantization.layout import Layout
from vedette.quantization.parameters import INTEGER_RANGES

X = np.random.default_rng(3).normal(0, 2, (6, 64)).astype(np.float32)

FINITE = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=9),
    elements=st.floats(-1e6, 1e6, width=32),
)


def test_asymmetric_formula() -> None:
    x = np.array([-1.0, 0.0, 3.0], np.float32)
    q = vq.quantize(x, "uint8")
    scale = np.float32(4 / 255)
    assert q.scale == scale
    assert q.zero_point == np.rint(1 / scale)
    np.testing.assert_array_equal(q.data, np.clip(np.rint(x / scale) + q.zero_point, 0, 255))


def test_symmetric_formula() -> None:
    q = vq.quantize(np.array([-2.0, 0.5, 1.0], np.float32))
    assert q.scale == np.float32(2 / 127)
    assert q.zero_point == 0
    assert q.data.tolist() == [-127, 32, 64]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int4", "uint4"])
@pytest.mark.parametrize("by", [{}, {"axis": 0}, {"axis": -1}, {"group_size": 32}])
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_error_is_at_most_half_a_step(dtype: str, by: dict[str, int], symmetric: bool) -> None:
    q = vq.quantize(X, dtype, symmetric=symmetric, **by)
    steps = 15 if dtype.endswith("4") else 255
    # The zero point is rounded too, which can cost another half step at one end of the range.
    bound = (X.max() - X.min()) / (steps - 1) if not symmetric else 2 * np.abs(X).max() / (steps - 1)
    assert vq.maximum_error(X, q) <= bound * 1.0001
    assert q.dequantize().shape == X.shape


def by_formula(x: np.ndarray, q: vq.QuantizedTensor) -> tuple[np.ndarray, np.ndarray]:
    """The integers, and the real numbers that they stand for, as the formulas say."""
    assert q.scale is not None
    assert q.zero_point is not None
    scale, zero_point = q.scale, q.zero_point
    rows = x
    if q.group_size is not None:
        rows = x.reshape(*scale.shape, q.group_size)
        scale, zero_point = scale[..., None], zero_point[..., None]
    elif q.axis is not None:
        scale, zero_point = (part.reshape(-1, *[1] * (x.ndim - q.axis - 1)) for part in (scale, zero_point))
    least, greatest = INTEGER_RANGES[q.dtype]
    steps = np.clip(np.rint(rows / scale) + zero_point, least, greatest)
    real = (steps.astype(np.float32) - zero_point.astype(np.float32)) * scale
    return steps.reshape(x.shape), real.reshape(x.shape)


# Rows shorter and longer than what is worked on at once, odd ones, and enough elements for two threads.
SHAPES = [(), (1,), (7,), (3, 5), (4, 64), (5, 1), (2, 3, 4, 6), (3, 2050), (300, 700)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", vq.tensors.DTYPES[:4])
@pytest.mark.parametrize("symmetric", [True, False])
def test_every_layout_follows_the_formula(shape: tuple[int, ...], dtype: str, symmetric: bool) -> None:
    x = np.random.default_rng(len(shape)).normal(0.3, 2, shape).astype(np.float32)
    ways: list[dict[str, int]] = [{}, *({"axis": axis} for axis in range(len(shape)))]
    ways += [{"group_size": size} for size in (1, 2, 3, 64) if shape and shape[-1] % size == 0]
    for way in ways:
        q = vq.quantize(x, dtype, symmetric=symmetric, **way)
        integers, real = by_formula(x, q)
        np.testing.assert_array_equal(q.integers(), integers, err_msg=str(way))
        np.testing.assert_array_equal(q.dequantize(), real, err_msg=str(way))


@pytest.mark.parametrize("isa", _native.available_isas())
def test_every_level_gives_the_same(isa: str) -> None:
    x = np.random.default_rng(1).normal(0, 2, (37, 130)).astype(np.float32)
    for dtype, axis, group in (
        ("uint8", None, None),
        ("int8", 0, None),
        ("int8", 1, None),
        ("int4", None, 26),
    ):
        q = vq.quantize(x, dtype, axis=axis, group_size=group)
        layout = Layout.of(x.shape, axis, group)
        again = layout.quantize(x, q.scale, q.zero_point, dtype, isa)
        np.testing.assert_array_equal(again, q.data.view(np.uint8))
        real = np.empty_like(x)
        layout.dequantize(q.data, q.scale, q.zero_point, dtype, real, isa)
        np.testing.assert_array_equal(real, q.dequantize())
        for one, other in zip(layout.ranges(x, isa) or (), layout.ranges(x, "scalar") or (), strict=True):
            np.testing.assert_array_equal(one, other)


@settings(max_examples=200, deadline=None)
@given(FINITE, st.sampled_from(vq.tensors.DTYPES[:4]))
def test_whatever_the_array(x: np.ndarray, dtype: str) -> None:
    q = vq.quantize(x, dtype)
    back = q.dequantize()
    assert back.shape == x.shape
    assert np.isfinite(back).all()
    again = vq.quantize(back, dtype)
    # What is representable stays where it is, up to the rounding of the scale itself.
    step = float(np.max(q.scale))
    assert np.abs(again.dequantize() - back).max(initial=0.0) <= step * 1.01


def test_four_bits_are_packed_low_first() -> None:
    q = vq.quantize(np.array([0, 1, 2, 15], np.float32), "uint4")
    assert q.data.tolist() == [0x10, 0xF2]
    odd = vq.quantize(np.array([-7, 1, 7], np.float32), "int4")
    assert odd.integers().tolist() == [-7, 1, 7]
    assert odd.data.shape == (2,)


def test_half_floats() -> None:
    x = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -65504.0], np.float32)
    assert vq.quantize(x, "bfloat16").dequantize().tolist() == [1.0, 1.0, 1 + 2**-6, -65536.0]
    np.testing.assert_array_equal(vq.quantize(x, "float16").dequantize(), x.astype(np.float16))
    with pytest.raises(InputError, match="65504"):
        vq.quantize(np.array([1e5]), "float16")


def test_sizes() -> None:
    x = np.zeros((128, 128), np.float32)
    x[0] = 1
    assert vq.quantize(x, "int8").compression_ratio > 3.99
    assert vq.quantize(x, "int8", axis=0).compression_ratio > 3.8
    assert vq.quantize(x, "int4", group_size=32).compression_ratio > 6.3
    assert vq.quantize(x, "bfloat16").compression_ratio == 2


def test_out_is_written_in_place() -> None:
    out = np.empty((64, 6), np.float32).T
    q = vq.quantize(X)
    assert q.dequantize(out=out) is out
    np.testing.assert_array_equal(out, q.dequantize())
    with pytest.raises(InputError, match="expected out"):
        q.dequantize(out=np.empty((2, 2), np.float32))


def test_errors() -> None:
    assert vq.mse(X, X) == 0.0
    assert vq.sqnr(X, X) == float("inf")
    assert vq.cosine(X, X) == pytest.approx(1)
    assert vq.sqnr(X, X * 0.9) == pytest.approx(20)
    assert vq.maximum_error([1.0, 2.0], [1.0, 4.0]) == 2.0
    assert vq.mse([0.0, 2.0], [0.0, 0.0]) == 2.0
    assert 40 < vq.sqnr(X, vq.quantize(X)) < vq.sqnr(X, vq.quantize(X, axis=0))
    with pytest.raises(InputError, match="one shape"):
        vq.mse(X, X[0])


@pytest.mark.parametrize("constant", [0.0, 3.5, -2.0])
def test_constant_tensors(constant: float) -> None:
    x = np.full(5, constant, np.float32)
    for dtype in vq.tensors.DTYPES:
        np.testing.assert_allclose(vq.quantize(x, dtype).dequantize(), x, rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "how", "message"),
    [
        ([1.0, np.nan], {}, "1 values that are NaN"),
        ([np.inf], {}, "infinite"),
        ([1.0], {"dtype": "int3"}, "there are 'int8'"),
        ([1.0], {"axis": 1}, r"axis 1 is outside of shape \(1,\)"),
        ([1.0, 2.0], {"group_size": 3}, "does not divide"),
        ([1.0, 2.0], {"group_size": 1, "axis": 0}, "got both"),
        ([1.0], {"dtype": "bfloat16", "axis": 0}, "no scales"),
        ([1j], {}, "real numbers"),
        (["a"], {}, "real numbers"),
    ],
)
def test_what_is_wrong_is_said(x: list[object], how: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        vq.quantize(x, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", vq.tensors.DTYPES)
def test_a_saved_tensor_is_mapped(dtype: str, tmp_path: Path) -> None:
    by = {"group_size": 16} if dtype.endswith("4") else {"axis": 1} if dtype.endswith("t8") else {}
    q = vq.quantize(X, dtype, **by)
    mapped = vq.QuantizedTensor.map(q.save(tmp_path / "x.safetensors"))
    np.testing.assert_array_equal(mapped.dequantize(), q.dequantize())
    assert (mapped.dtype, mapped.axis, mapped.group_size) == (q.dtype, q.axis, q.group_size)
    assert not mapped.data.flags.writeable


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = vq.quantize(X, "uint8", axis=0).save(tmp_path / "x.safetensors")
    data = path.read_bytes()
    for old, new in (
        (b'\\"uint8\\"', b'\\"uint9\\"'),
        (b'\\"axis\\": 0', b'\\"axis\\": 7'),
        (b'\\"axis\\": 0', b'\\"axis\\": 1'),
        (b"[6, 64]", b"[6, 63]"),
        (b'"I32"', b'"U32"'),
    ):
        assert old in data
        path.write_bytes(data.replace(old, new))
        with pytest.raises(InputError, match="damaged"):
            vq.QuantizedTensor.map(path)
    for size in (0, 7, 100, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match="damaged"):
            vq.QuantizedTensor.map(path)
    with pytest.raises(InputError, match="cannot read"):
        vq.QuantizedTensor.map(tmp_path / "missing")


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 700), byte=st.integers(0, 255))
def test_a_changed_byte_is_never_worse_than_an_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    path = vq.quantize(X[:2], "int4", group_size=32).save(tmp_path_factory.mktemp("q") / "x.safetensors")
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(data)
    with suppress(InputError):
        vq.QuantizedTensor.map(path).dequantize()
