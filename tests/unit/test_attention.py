"""Attention as one node: which products become one, and what it computes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_graphs import Net, evaluate, operators

from vedette import runtime
from vedette.model.graph import Array, Graph
from vedette.model.native_engine import NativeEngine, compile_graph
from vedette.model.passes.attention import narrow_attention

RANDOM = np.random.default_rng(5)


def attention(axis: int = -1, extra: str | None = None) -> Graph:
    """Three heads of 20 queries and 30 keys, 16 values each, side by side in memory."""
    net = Net()

    def heads(name: str, rows: int, perm: list[int]) -> str:
        split = net.op("Reshape", net.input(name, 2, rows, 48), net.integers(2, rows, 3, 16))
        return str(net.op("Transpose", split, perm=perm))

    q, k, v = heads("q", 20, [0, 2, 1, 3]), heads("k", 30, [0, 2, 3, 1]), heads("v", 30, [0, 2, 1, 3])
    scores = net.op("Mul", net.op("MatMul", q, k), net.constant(0.25))
    if extra == "mask":
        scores = net.op("Add", scores, net.input("mask", 2, 1, 20, 30))
    weights = net.op("Softmax", scores, axis=axis)
    y = net.op("Transpose", net.op("MatMul", weights, v), perm=[0, 2, 1, 3])
    y = net.op("Reshape", y, net.integers(2, 20, 48))
    return compile_graph(net.graph(y, weights) if extra == "output" else net.graph(y))


def inputs(graph: Graph) -> dict[str, Array]:
    return {name: RANDOM.normal(0, 1, graph.type_of(name).shape).astype(np.float32) for name in graph.inputs}


def products(graph: Graph) -> list[str]:
    return [op for op in operators(graph) if op not in ("Reshape", "Transpose")]


def test_attention_becomes_one_node_and_is_nearly_the_same() -> None:
    graph = attention()
    narrow = narrow_attention(graph)
    assert products(narrow) == ["ScaledDotProductAttention"]
    values = inputs(graph)
    (expected,) = evaluate(graph, values).values()
    np.testing.assert_allclose(evaluate(narrow, values)[narrow.outputs[0]], expected, atol=1e-5)
    for threads in (1, 2):
        (found,) = NativeEngine.of(narrow, threads).run([values[name] for name in graph.inputs])
        # Scores of about 1 and weights are rounded to 8 bits; values are up to 4.
        np.testing.assert_allclose(found, expected, atol=0.03)


@pytest.mark.parametrize("isa", [isa for isa in runtime.available_isas() if isa in ("scalar", "avx2")])
def test_attention_without_bfloat16_units_is_that_of_float32(isa: str) -> None:
    graph = attention()
    values = inputs(graph)
    arrays = [values[name] for name in graph.inputs]
    (found,) = NativeEngine.of(narrow_attention(graph), 2, isa).run(arrays)
    (expected,) = NativeEngine.of(graph, 2, isa).run(arrays)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("axis", "extra"), [(2, None), (-1, "mask"), (-1, "output")])
def test_what_is_no_plain_attention_keeps_its_nodes(axis: int, extra: str | None) -> None:
    graph = attention(axis, extra)
    narrow = narrow_attention(graph)
    assert products(narrow) == products(graph)
    assert [node.attributes.get("precision") for node in narrow.nodes if node.op == "MatMul"] == [
        "bfloat16",
        "bfloat16",
    ]


def test_products_with_weights_are_left_alone() -> None:
    net = Net()
    graph = compile_graph(net.graph(net.op("MatMul", net.input("x", 4, 8), net.weights(8, 8))))
    assert "precision" not in narrow_attention(graph).nodes[0].attributes
