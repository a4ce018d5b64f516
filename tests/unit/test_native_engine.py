"""The native engine as Python sees it: arrays in and out, errors, threads, forks."""

import json
import os
import threading
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from vedette import _native
from vedette.errors import (
    InputError,
    InvalidModelError,
    MemoryLimitError,
    UnsupportedModelError,
)

Shape = Sequence[int | None]


def program(
    inputs: Sequence[tuple[str, Shape]],
    nodes: Sequence[tuple[str, list[int | None], list[int]]],
    outputs: Sequence[int],
    constants: Sequence[int] = (),
    **attributes: Any,
) -> str:
    """A program whose inputs are values 0, 1, ...; every node gets the same attributes."""
    made = [value for _, _, values in nodes for value in values]
    return json.dumps(
        {
            "version": 1,
            "values": len(inputs) + len(constants) + len(made),
            "inputs": [
                {"value": value, "name": f"x{value}", "dtype": dtype, "shape": list(shape)}
                for value, (dtype, shape) in enumerate(inputs)
            ],
            "outputs": [{"value": value, "name": f"y{value}"} for value in outputs],
            "constants": list(constants),
            "nodes": [
                {"op": op, "name": f"node{i}", "inputs": read, "outputs": written, "attributes": attributes}
                for i, (op, read, written) in enumerate(nodes)
            ],
        }
    )


def passing(dtype: str, shape: Shape) -> _native.Engine:
    """An engine whose output is its input."""
    return _native.Engine(program([(dtype, shape)], [], [0]), [])


DTYPES = [
    *("float32", "float64", "float16", "bool"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_goes_in_and_comes_out(dtype: str) -> None:
    x = np.arange(6).reshape(2, 3).astype(dtype)
    (y,) = passing(dtype, [None, 3]).run([x])
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(x, y)


def test_bfloat16_is_that_of_ml_dtypes() -> None:
    x = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    (y,) = passing("bfloat16", [2]).run([x])
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(x, y)


def test_arrays_may_lie_in_any_way() -> None:
    base = np.arange(240, dtype=np.float32).reshape(4, 5, 12)
    record = np.zeros(3, [("a", "u1"), ("b", "<f4")])
    record["b"] = [1, 2, 3]
    arrays = [
        base[:, ::2, ::-3],
        base.transpose(2, 0, 1),
        np.asfortranarray(base),
        np.broadcast_to(base[:1], (3, 5, 12)),
        base.astype(">f4"),
        base[:0],
        np.frombuffer(b"\0" + base.tobytes(), np.float32, 240, 1).reshape(4, 5, 12),
        record["b"].reshape(1, 1, 3),
    ]
    engine = passing("float32", [None, None, None])
    for array in arrays:
        (y,) = engine.run([array])
        assert y.flags.c_contiguous
        np.testing.assert_array_equal(y, array)


def test_bools_with_other_bytes_than_0_and_1_are_normalised() -> None:
    x = np.array([0, 1, 2, 255], np.uint8).view(np.bool_)
    (y,) = passing("bool", [4]).run([x])
    assert y.view(np.uint8).tolist() == [0, 1, 1, 1]


def test_outputs_are_writable_and_their_own() -> None:
    engine = passing("float32", [None])
    x = np.ones(3, np.float32)
    (y,), (z,) = engine.run([x]), engine.run([x])
    y[:] = 5
    assert x.tolist() == z.tolist() == [1, 1, 1]
    del engine
    assert y.tolist() == [5, 5, 5]


def test_wrong_inputs_are_named() -> None:
    engine = passing("float32", [None, 3])
    with pytest.raises(InputError, match=r'input "x0": expected float32 \[\?, 3\], got float64 \(1, 3\)'):
        engine.run([np.zeros((1, 3))])
    with pytest.raises(InputError, match="expected 1 input, got 2"):
        engine.run([np.zeros((1, 3), np.float32)] * 2)
    with pytest.raises(InputError, match="expected a NumPy array, got list"):
        engine.run([[1, 2, 3]])  # type: ignore[list-item]
    with pytest.raises(InputError, match="complex"):
        engine.run([np.zeros((1, 3), complex)])
    with pytest.raises(InputError, match="this CPU has scalar"):
        _native.Engine(program([("float32", [1])], [], [0]), [], isa="sse9")


def test_wrong_programs_are_refused() -> None:
    with pytest.raises(InvalidModelError, match="not as expected"):
        _native.Engine("{}", [])
    with pytest.raises(InvalidModelError, match="1 constants, got 0"):
        _native.Engine(program([("float32", [1])], [], [0], [1]), [])
    cyclic = program([("float32", [1])], [("Add", [0, 2], [1]), ("Add", [0, 1], [2])], [2])
    with pytest.raises(InvalidModelError, match="without cycles"):
        _native.Engine(cyclic, [])
    unknown = program([("float32", [1])], [("Nothing", [0], [1]), ("Nowhere", [1], [2])], [2])
    with pytest.raises(UnsupportedModelError, match=r"(?s)node0.*Nothing.*node1.*Nowhere"):
        _native.Engine(unknown, [])


def test_memory_is_limited_before_it_is_taken() -> None:
    expand = program([("float32", [1]), ("int64", [None])], [("Expand", [0, 1], [2])], [2])
    engine = _native.Engine(expand, [], memory_limit=1 << 20)
    (y,) = engine.run([np.ones(1, np.float32), np.array([100, 100])])
    assert y.shape == (100, 100)
    for shape in [[1 << 20], [1 << 40, 1 << 40], [1 << 62]]:
        with pytest.raises(MemoryLimitError):
            engine.run([np.ones(1, np.float32), np.array(shape)])


def test_shapes_may_come_from_values_of_the_run() -> None:
    reshape = program([("float32", [None]), ("int64", [None])], [("Reshape", [0, 1], [2])], [2])
    engine = _native.Engine(reshape, [])
    x = np.arange(12, dtype=np.float32)
    for shape in [(3, 4), (2, -1), (3, 4), (12,)]:
        (y,) = engine.run([x, np.array(shape)])
        np.testing.assert_array_equal(y, x.reshape(shape))


def test_a_profile_names_the_nodes() -> None:
    add = program([("float32", [None])], [("Add", [0, 0], [1]), ("Mul", [1, 0], [2])], [2])
    (y,), lines = _native.Engine(add, []).profile([np.ones(3, np.float32)])
    assert y.tolist() == [2, 2, 2]
    assert [(line["name"], line["op"], line["shape"]) for line in lines] == [
        ("node0", "Add", [3]),
        ("node1", "Mul", [3]),
    ]
    assert all(line["microseconds"] >= 0 for line in lines)


def squares() -> _native.Engine:
    nodes: list[tuple[str, list[int | None], list[int]]] = [("Mul", [0, 0], [1]), ("Add", [1, 0], [2])]
    return _native.Engine(program([("float32", [None, None])], nodes, [2]), [], threads=2)


def test_several_threads_share_an_engine() -> None:
    engine = squares()
    failures: list[str] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(50):
            x = rng.integers(-9, 9, (rng.integers(1, 400), 256)).astype(np.float32)
            (y,) = engine.run([x])
            if not np.array_equal(y, x * x + x):
                failures.append(f"seed {seed}, shape {x.shape}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_an_engine_runs_on_in_a_forked_child() -> None:
    engine = squares()
    x = np.full((500, 1000), 3, np.float32)
    engine.run([x])
    child = os.fork()
    if child == 0:
        right = np.array_equal(engine.run([x])[0], x * x + x)
        os._exit(0 if right else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    np.testing.assert_array_equal(engine.run([x])[0], x * x + x)


def test_supported_operators_are_sorted_names() -> None:
    names = _native.supported_operators()
    assert names == sorted(set(names))
    assert {"Add", "Conv", "MatMul", "Reshape"} <= set(names)
