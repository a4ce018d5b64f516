"""The native integer operators against their formulas in NumPy, as the compiler writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from integer_reference import OPERATORS
from onnx_graphs import evaluate

from vedette import _native
from vedette.model.graph import Array, Graph, Node, TensorType
from vedette.model.native_engine import NativeEngine

SUPPORTED = frozenset(_native.supported_operators())
LEVELS = _native.available_isas()
RANDOM = np.random.default_rng(21)


def bytes_of(*shape: int) -> Array:
    return RANDOM.integers(0, 256, shape).astype(np.uint8)


def weights(*shape: int) -> Array:
    return RANDOM.integers(-127, 128, shape).astype(np.int8)


def reals(*shape: int) -> Array:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


def multipliers(count: int, products: int) -> Array:
    return (RANDOM.uniform(0.5, 2, count) / (127 * 64 * products**0.5)).astype(np.float32)


Y = {"y_scale": 0.021, "y_zero_point": 117}
Case = tuple[str, list[Any], list[Any], dict[str, Any]]

TABLE = np.random.default_rng(0).permutation(256).astype(np.uint8)


def conv(
    shape: tuple[int, ...], w: tuple[int, ...], full: bool = False, **more: Any
) -> tuple[str, Any, Any, Any]:
    groups = more.get("group", 1)
    attributes = {"group": groups, "x_zero_point": 99, "pads": [w[2] // 2, w[3] // 2] * 2, **Y, **more}
    constants = [weights(*w), multipliers(w[0], int(np.prod(w[1:])))]
    inputs: list[Any] = [bytes_of(*shape)]
    if full:
        constants += [reals(w[0]), None, TABLE]
        attributes |= {"residual_scale": 0.03, "residual_zero_point": 7, "activation": {"kind": "relu"}}
        inputs.append(bytes_of(shape[0], w[0], *shape[2:]))
    return "QuantizedConv", inputs, constants, attributes


CASES: dict[str, Callable[[], Case]] = {
    "conv 1x1": lambda: conv((2, 24, 5, 7), (40, 24, 1, 1)),
    "conv 3x3 of everything": lambda: conv((1, 16, 9, 11), (33, 16, 3, 3), full=True),
    "conv of an image": lambda: conv((1, 3, 17, 19), (24, 3, 3, 3), strides=[2, 2]),
    "conv by group": lambda: conv((1, 12, 6, 6), (9, 4, 3, 3), group=3),
    "conv dilated": lambda: conv((1, 5, 12, 12), (7, 5, 3, 3), dilations=[2, 2], pads=[2, 2, 2, 2]),
    "conv to float": lambda: conv((1, 8, 5, 5), (10, 8, 3, 3), y_scale=None, y_zero_point=None),
    "conv 2x2 same": lambda: conv((1, 12, 8, 9), (24, 12, 2, 2), pads=None, auto_pad="SAME_UPPER"),
    "depthwise 3x3": lambda: conv((1, 37, 9, 12), (37, 1, 3, 3), group=37, full=True),
    "depthwise 7x7": lambda: conv((1, 16, 14, 10), (16, 1, 7, 7), group=16),
    "depthwise strided": lambda: conv((2, 32, 13, 8), (32, 1, 5, 5), group=32, strides=[2, 1]),
    "conv clipped": lambda: conv(
        (1, 8, 5, 5), (8, 8, 1, 1), activation={"kind": "clip", "min": -0.5, "max": 0.9}
    ),
    "conv transpose": lambda: (
        "QuantizedConvTranspose",
        [bytes_of(1, 12, 5, 6)],
        [weights(12, 7, 2, 2), multipliers(7, 48), reals(7)],
        {"strides": [2, 2], "group": 1, "x_zero_point": 3, **Y, "activation": {"kind": "relu"}},
    ),
    "conv transpose to one float": lambda: (
        "QuantizedConvTranspose",
        [bytes_of(1, 24, 6, 7)],
        [weights(24, 1, 2, 2), multipliers(1, 96), reals(1)],
        {"strides": [2, 2], "group": 1, "x_zero_point": 200},
    ),
    "matmul": lambda: (
        "QuantizedMatMul",
        [bytes_of(2, 5, 33), bytes_of(2, 5, 21)],
        [weights(33, 21), multipliers(21, 33), reals(21), None, TABLE],
        {"a_zero_point": 50, **Y, "residual_scale": 0.01, "residual_zero_point": 128},
    ),
    "matmul to float": lambda: (
        "QuantizedMatMul", [bytes_of(1, 64)], [weights(64, 10), multipliers(10, 64)], {"a_zero_point": 0},
    ),
    "add": lambda: ("QuantizedAdd", [bytes_of(1, 8, 4, 5), bytes_of(1, 8, 4, 5)], [], scales()),
    "add broadcast": lambda: ("QuantizedAdd", [bytes_of(1, 8, 4, 5), bytes_of(8, 1, 1)], [], scales()),
    "add with table": lambda: ("QuantizedAdd", [bytes_of(3, 70), bytes_of(3, 70)], [TABLE], scales()),
    "mul": lambda: ("QuantizedMul", [bytes_of(1, 8, 4, 5), bytes_of(1, 8, 1, 1)], [], scales()),
    "lookup": lambda: ("QuantizedLookup", [bytes_of(3, 5, 77)], [TABLE], {}),
    "concat": lambda: (
        "QuantizedConcat", [bytes_of(1, 3, 4, 5), bytes_of(1, 6, 4, 5)], [],
        {"axis": 1, "scales": [0.01, 0.05], "zero_points": [3, 130], **Y},
    ),
    "average": lambda: (
        "QuantizedAveragePool", [bytes_of(1, 20, 9, 8)], [],
        {"kernel_shape": [3, 2], "strides": [3, 2], "x_scale": 0.02, "x_zero_point": 60, **Y},
    ),
    "mean": lambda: (
        "QuantizedGlobalAveragePool", [bytes_of(2, 40, 7, 7)], [],
        {"x_scale": 0.02, "x_zero_point": 60, **Y},
    ),
    "mean to float": lambda: (
        "QuantizedGlobalAveragePool", [bytes_of(2, 40, 7, 7)], [], {"x_scale": 0.02, "x_zero_point": 60},
    ),
    "squeeze and excite": lambda: (
        "QuantizedSqueezeExcite", [bytes_of(1, 16, 6, 5)],
        [reals(4, 16, 1, 1), reals(4), reals(16, 4, 1, 1), reals(16)],
        {"inner": {"kind": "relu"}, "gate": {"kind": "hard_sigmoid", "alpha": 0.2, "beta": 0.5},
         "residual": True, "x_scale": 0.02, "x_zero_point": 60, **Y},
    ),
    "dynamic": lambda: (
        "DynamicQuantizedMatMul", [reals(2, 7, 48)],
        [weights(48, 30), multipliers(30, 48) * 64, reals(30)],
        {"activation": {"kind": "gelu"}},
    ),
    "dynamic with a row of zeros": lambda: (
        "DynamicQuantizedMatMul", [reals(7, 16) * np.float32(0)],
        [weights(16, 5), multipliers(5, 16), reals(5)], {},
    ),
    "blocks of 4 bits": lambda: (
        "BlockQuantizedMatMul", [reals(3, 64)],
        [bytes_of(10, 2, 16), np.abs(reals(10, 2)), bytes_of(10, 2) >> 4, reals(10)],
        {"bits": 4, "group_size": 32},
    ),
}  # fmt: skip


def scales() -> dict[str, Any]:
    return {"a_scale": 0.02, "a_zero_point": 100, "b_scale": 0.03, "b_zero_point": 20, **Y}


# Sums of floats in another order: the last bits of the float results, which the formula leaves open.
FLOAT = {"QuantizedSqueezeExcite", "DynamicQuantizedMatMul", "BlockQuantizedMatMul", "QuantizedAveragePool",
         "QuantizedGlobalAveragePool"}  # fmt: skip


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("case", [name for name, make in CASES.items() if make()[0] in SUPPORTED])
def test_operator(case: str, isa: str) -> None:
    op, arrays, constants, attributes = CASES[case]()
    names = [f"x{i}" for i in range(len(arrays))]
    table = {f"c{i}": array for i, array in enumerate(constants) if array is not None}
    operands: list[str | None] = [names[0]]
    operands += [f"c{i}" if array is not None else None for i, array in enumerate(constants)]
    if op in ("QuantizedConv", "QuantizedMatMul") and len(names) > 1:
        operands[4] = names[1]
    elif len(names) > 1:
        operands[1:1] = names[1:]
    kept = {name: value for name, value in attributes.items() if value is not None}
    types = {
        name: TensorType(array.dtype.name, array.shape) for name, array in zip(names, arrays, strict=True)
    }
    graph = Graph(tuple(names), ("y",), [Node(op, tuple(operands), ("y",), kept, case)], table, types)
    (expected,) = evaluate(graph, dict(zip(names, arrays, strict=True))).values()
    assert op in OPERATORS
    (actual,) = NativeEngine.of(graph, 1, isa).run(arrays)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if actual.dtype == np.uint8:
        difference = np.abs(actual.astype(int) - expected.astype(int))
        assert difference.max() <= (1 if op in FLOAT else 0)
    else:
        bound = 2e-5 * (np.abs(expected) + np.abs(expected).max())
        if op == "BlockQuantizedMatMul":
            bound += rounding_of_blocks(arrays[0], *constants[:3])
        np.testing.assert_array_less(np.abs(actual - expected), bound + 1e-30)


def rounding_of_blocks(a: Array, packed: Array, scales: Array, zero_points: Array) -> Array:
    """The most that a product changes where the left side is rounded to 8 bits by block: half a step each."""
    nibbles = np.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:2], -1)
    weights = np.abs((nibbles - zero_points[..., None].astype(int)) * scales[..., None]).sum(-1)
    largest = np.abs(a).reshape(len(a), scales.shape[1], -1).max(-1)
    return np.asarray(largest / 254 @ weights.T)
