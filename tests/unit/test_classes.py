"""Products with a column for each of thousands of classes: which are fused, and that they mean the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_graphs import Net, operators

import vedette as vd
from vedette import runtime
from vedette.model.graph import Array, Graph
from vedette.model.native_engine import NativeEngine, compile_graph
from vedette.model.passes.classes import fuse_classes

RANDOM = np.random.default_rng(8)
X = RANDOM.normal(0, 1, (3, 11, 24)).astype(np.float32)
CLASSES = 4200


def classifier(
    classes: int = CLASSES, *, axis: int = -1, precision: str = "bfloat16", twice: bool = False
) -> Graph:
    net = Net(seed=6)
    product = net.op(
        "MatMul", net.input("x", 3, 11, 24), net.constant(net.random.normal(0, 1, (24, classes)))
    )
    y = net.op("Add", product, net.constant(net.random.normal(0, 1, classes)))
    outputs = (net.op("Softmax", y, axis=axis), *((net.op("Relu", y),) if twice else ()))
    graph = compile_graph(net.graph(*outputs))
    nodes = [
        node.with_attributes(precision=precision) if node.op == "MatMul" else node for node in graph.nodes
    ]
    return graph.with_nodes(nodes)


def run(graph: Graph, isa: str | None = None) -> Array:
    return NativeEngine.of(graph, 2, isa).run([X])[0]


def test_the_softmax_of_many_classes_is_made_with_them() -> None:
    graph = classifier()
    fused = fuse_classes(graph)
    assert operators(fused) == ["MatMulSoftmax"]
    expected = run(classifier(precision="float32"))
    for isa in dict.fromkeys(("scalar", runtime.isa())):
        # Rounding 24 operands to 8 bits moves scores of up to 20 by some hundredths.
        np.testing.assert_allclose(run(graph, isa), expected, rtol=0.2, atol=1e-7)
        np.testing.assert_allclose(run(graph, isa).sum(axis=-1), 1.0, rtol=1e-4)


@pytest.mark.parametrize(
    "graph",
    [
        classifier(1000),
        classifier(axis=1),
        classifier(precision="float32"),
        classifier(twice=True),
    ],
    ids=["few classes", "another axis", "float32", "a product that others read"],
)
def test_what_is_left_alone(graph: Graph) -> None:
    assert operators(fuse_classes(graph)) == operators(graph)


def test_the_best_class_is_found_without_the_others(tmp_path: Path) -> None:
    net = Net(seed=6)
    y = net.op("MatMul", net.input("x", "n", "t", 24), net.constant(net.random.normal(0, 1, (24, CLASSES))))
    path = tmp_path / "net.onnx"
    onnx.save(net.model(net.op("Softmax", y)), path)
    model = vd.load(path, precision="bfloat16", best_class=True)
    assert [entry.op for entry in model.profile(X).entries] == ["MatMulBestClass"]
    scores, classes = model(X)
    shares = vd.load(path, precision="bfloat16")(X)
    assert scores.shape == classes.shape == (3, 11)
    np.testing.assert_array_equal(classes, shares.argmax(axis=-1))
    np.testing.assert_allclose(scores, shares.max(axis=-1), rtol=1e-4)
