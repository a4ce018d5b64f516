"""Small graphs for tests, and what they mean: a plain NumPy reading of every fused operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.defs
from bench.onnx_builder import OnnxNet
from integer_reference import OPERATORS as INTEGER_OPERATORS
from onnx import helper
from onnx.reference import ReferenceEvaluator

from vedette.model.graph import Array, Graph, Node
from vedette.model.onnx_reader import read_proto

EVERY_OPERATOR = frozenset(schema.name for schema in onnx.defs.get_all_schemas()) | {
    "Activation",
    "SqueezeExcite",
}


class Net(OnnxNet):
    """An ONNX model being built, that can be read at once."""

    def graph(self, *outputs: str) -> Graph:
        return read_proto(self.model(*outputs), EVERY_OPERATOR).graph


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def evaluate(graph: Graph, inputs: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Runs a graph node by node, slowly and plainly."""
    values: dict[str | None, Any] = {None: None, **graph.constants, **(inputs or {})}
    for node in graph.nodes:
        operands = [values[name] for name in node.inputs]
        results = _FUSED[node.op](node, operands) if node.op in _FUSED else run_plain(node, operands)
        values.update(zip(node.outputs, results, strict=True))
    return {name: np.asarray(values[name]) for name in graph.outputs}


def assert_same_meaning(
    before: Graph, after: Graph, shapes: Mapping[str, Sequence[int]], rtol: float = 1e-5
) -> None:
    """Both graphs give the same for random inputs of these shapes."""
    random = np.random.default_rng(1)
    inputs = {name: random.normal(0, 2, shape).astype(np.float32) for name, shape in shapes.items()}
    expected, actual = evaluate(before, inputs), evaluate(after, inputs)
    assert list(expected) == list(actual)
    for name, array in expected.items():
        assert actual[name].shape == array.shape
        assert actual[name].dtype == array.dtype
        # Folding rounds weights once more, so values differ in the last bits of the largest.
        np.testing.assert_allclose(
            actual[name], array, rtol=rtol, atol=rtol * float(np.abs(array).max(initial=1.0))
        )


def run_plain(node: Node, operands: list[Any]) -> list[Any]:
    """The node alone, by ONNX's own reference."""
    names = ["" if operand is None else f"i{i}" for i, operand in enumerate(operands)]
    attributes = {
        name: helper.np_dtype_to_tensor_dtype(np.dtype(value)) if name == "to" else value
        for name, value in node.attributes.items()
        if value is not None and name in onnx.defs.get_schema(node.op, 21).attributes
    }
    present = {name: np.asarray(operand) for name, operand in zip(names, operands, strict=True) if name}
    graph = helper.make_graph(
        [helper.make_node(node.op, names, list(node.outputs), **attributes)],
        "node",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in present.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in node.outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    return list(ReferenceEvaluator(model).run(None, present))


_ERF = np.vectorize(math.erf, otypes=[np.float64])


def activate(activation: Mapping[str, Any] | None, x: Array) -> Array:
    """An activation, in double precision."""
    if activation is None:
        return x
    a = activation
    wide = x.astype(np.float64)
    sigmoid: Callable[[Array], Array] = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    kinds: dict[str, Callable[[], Array]] = {
        "relu": lambda: np.maximum(wide, 0),
        "leaky_relu": lambda: np.where(wide < 0, a["alpha"] * wide, wide),
        "clip": lambda: np.minimum(np.maximum(wide, a.get("min", -np.inf)), a.get("max", np.inf)),
        "sigmoid": lambda: sigmoid(wide),
        "hard_sigmoid": lambda: np.clip(a["alpha"] * wide + a["beta"], 0, 1),
        "hard_swish": lambda: wide * np.clip(wide / 6 + 0.5, 0, 1),
        "scaled_hard_sigmoid": lambda: wide * np.clip(a["alpha"] * wide + a["beta"], 0, 1),
        "silu": lambda: wide * sigmoid(a.get("alpha", 1.0) * wide),
        "tanh": lambda: np.tanh(wide),
        "gelu": lambda: wide / 2 * (1 + _ERF(wide / math.sqrt(2))),
        "mish": lambda: wide * np.tanh(np.log1p(np.exp(wide))),
        "softplus": lambda: np.log1p(np.exp(wide)),
        "erf": lambda: _ERF(wide),
        "exp": lambda: np.exp(wide),
    }
    return kinds[a["kind"]]().astype(x.dtype)


def _activation(node: Node, operands: list[Any]) -> list[Any]:
    return [activate(node.attributes["activation"], operands[0])]


def _epilogue(node: Node, y: Array, operands: list[Any]) -> list[Any]:
    if len(operands) > 3 and operands[3] is not None:
        assert operands[3].shape == y.shape
        y = y + operands[3]
    return [activate(node.attributes.get("activation"), y)]


def _conv(node: Node, operands: list[Any]) -> list[Any]:
    if len(operands) > 4:
        operands = [np.concatenate([operands[0], *operands[4:]], 1), *operands[1:4]]
    given = operands[: 3 if len(operands) > 2 and operands[2] is not None else 2]
    plain = Node(node.op, tuple(map(str, range(len(given)))), node.outputs, node.attributes)
    groups = node.attributes["group"]
    if node.op == "Conv" or groups == 1:
        return _epilogue(node, run_plain(plain, given)[0], operands)
    # ONNX's reference of ConvTranspose does not know groups of several channels.
    single = plain.with_attributes(group=1)
    parts = zip(np.split(given[0], groups, 1), np.split(given[1], groups, 0), strict=True)
    y = np.concatenate([run_plain(single, list(part))[0] for part in parts], 1)
    if len(given) > 2:
        y = y + given[2].reshape(1, -1, *[1] * (y.ndim - 2))
    return _epilogue(node, y, operands)


def _matmul(node: Node, operands: list[Any]) -> list[Any]:
    a, b = operands[:2]
    if node.attributes.get("trans_a"):
        a = a.swapaxes(-1, -2)
    if node.attributes.get("trans_b"):
        b = b.swapaxes(-1, -2)
    y = (np.matmul(a, b) * node.attributes.get("alpha", 1.0)).astype(a.dtype)
    if len(operands) > 2 and operands[2] is not None:
        y = y + operands[2]
    return _epilogue(node, y, operands)


def _layer_normalization(node: Node, operands: list[Any]) -> list[Any]:
    x, scale, *bias = operands
    axes = tuple(range(node.attributes["axis"] % x.ndim, x.ndim))
    centered = x - x.mean(axes, keepdims=True, dtype=np.float64)
    y = centered / np.sqrt((centered**2).mean(axes, keepdims=True) + node.attributes["epsilon"]) * scale
    return [(y + bias[0] if bias else y).astype(x.dtype)]


def squeeze_excite(node: Node, operands: list[Any]) -> list[Any]:
    x, w1, b1, w2, b2 = operands
    inner = activate(node.attributes["inner"], x.mean((2, 3)) @ w1[:, :, 0, 0].T + b1)
    gate = activate(node.attributes["gate"], inner @ w2[:, :, 0, 0].T + b2)[:, :, None, None]
    return [x * gate + x if node.attributes["residual"] else x * gate]


def _attention(node: Node, operands: list[Any]) -> list[Any]:
    q, k, v = operands
    scores = node.attributes["alpha"] * (q @ k)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return [(weights / weights.sum(axis=-1, keepdims=True)) @ v]


_FUSED: dict[str, Callable[[Node, list[Any]], list[Any]]] = {
    **INTEGER_OPERATORS,
    "Activation": _activation,
    "Conv": _conv,
    "ConvTranspose": _conv,
    "LayerNormalization": _layer_normalization,
    "MatMul": _matmul,
    "ScaledDotProductAttention": _attention,
    "SqueezeExcite": squeeze_excite,
}
