"""Projections that attention reads, as one product: which are joined, and that they mean the same."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_graphs import Net, assert_same_meaning, evaluate, operators

from vedette.model.graph import Graph
from vedette.model.native_engine import NativeEngine, compile_graph
from vedette.model.passes.attention import narrow_attention
from vedette.model.passes.projections import merge_projections

WIDTHS = (48, 48, 24)


def transformer(biases: str = "qkv", *, reads_key_twice: bool = False) -> Graph:
    """Three heads of twenty tokens over a value of 32 columns."""
    net = Net(seed=4)
    x = net.input("x", 2, 20, 32)

    def heads(name: str, width: int, perm: list[int]) -> tuple[str, str]:
        y = net.op("MatMul", x, net.constant(net.random.normal(0, 0.2, (32, width))))
        if name in biases:
            y = net.op("Add", y, net.constant(net.random.normal(0, 0.2, width)))
        split = net.op("Reshape", y, net.integers(2, 20, 3, width // 3))
        return net.op("Transpose", split, perm=perm), y

    (q, _), (k, key), (v, _) = (
        heads(*side) for side in zip("qkv", WIDTHS, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    weights = net.op("Softmax", net.op("Mul", net.op("MatMul", q, k), net.constant(0.25)), axis=-1)
    y = net.op("Transpose", net.op("MatMul", weights, v), perm=[0, 2, 1, 3])
    y = net.op("Reshape", y, net.integers(2, 20, WIDTHS[2]))
    outputs = (y, net.op("Relu", key)) if reads_key_twice else (y,)
    return narrow_attention(compile_graph(net.graph(*outputs)))


def projections(graph: Graph) -> list[tuple[int, ...]]:
    return [graph.constants[node.inputs[1]].shape for node in graph.nodes if node.op == "MatMul"]


@pytest.mark.parametrize("biases", ["qkv", ""])
def test_projections_of_one_value_become_one_product(biases: str) -> None:
    graph = transformer(biases)
    merged = merge_projections(graph)
    assert projections(merged) == [(32, sum(WIDTHS))]
    assert operators(merged).count("Split") == 1
    assert_same_meaning(graph, merged, {"x": (2, 20, 32)})


@pytest.mark.parametrize("threads", [1, 2])
def test_the_engine_takes_the_joined_product_apart_without_copies(threads: int) -> None:
    graph = transformer()
    x = np.random.default_rng(3).normal(0, 1, (2, 20, 32)).astype(np.float32)
    (expected,) = evaluate(graph, {"x": x}).values()
    engine = NativeEngine.of(graph, threads)
    np.testing.assert_allclose(engine.run([x])[0], expected, atol=0.03)
    _, entries = engine.profile([x])
    # What is left takes time; views do not show.
    assert [entry["op"] for entry in entries] == ["MatMul", "ScaledDotProductAttention"]


def test_projections_that_differ_stay_apart() -> None:
    assert projections(merge_projections(transformer("v"))) == [(32, 96), (32, 24)]


def test_a_projection_that_others_read_stays() -> None:
    assert projections(merge_projections(transformer(reads_key_twice=True))) == [(32, 72), (32, 48)]


def test_without_attention_nothing_is_joined() -> None:
    net = Net()
    x = net.input("x", 4, 8)
    graph = compile_graph(net.graph(*(net.op("MatMul", x, net.weights(8, 8)) for _ in range(2))))
    assert operators(merge_projections(graph)) == operators(graph)
