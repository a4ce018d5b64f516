"""Nodes of precision bfloat16 against the same products of rounded operands in double precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx_graphs import Net, evaluate

import vedette as vd
from vedette import runtime
from vedette.model.graph import Array
from vedette.model.native_engine import NativeEngine, compile_graph
from vedette.quantization import sqnr

RANDOM = np.random.default_rng(21)
# Products of rounded operands are exact; this is what a few hundred sums leave of float32's 24 bits.
TOLERANCE = 2e-5


def has_units() -> bool:
    """Whether products are in bfloat16 here: elsewhere such nodes are computed in float32."""
    return runtime.isa() in ("avx512", "amx") and runtime.cpu_features()["avx512_bf16"]


def rounded(x: Array) -> Array:
    """What the products multiply, in double precision."""
    narrow = x.astype(ml_dtypes.bfloat16) if has_units() else x
    return narrow.astype(np.float64)


def run(net: Net, output: str, inputs: dict[str, Array]) -> tuple[Array, Any]:
    """The output of the graph with its products in bfloat16, and the profile's lines."""
    graph = compile_graph(net.graph(output))
    nodes = [
        node.with_attributes(precision="bfloat16") if node.op in ("Conv", "ConvTranspose", "MatMul") else node
        for node in graph.nodes
    ]
    engine = NativeEngine.of(graph.with_nodes(nodes), 2)
    (y,), lines = engine.profile([inputs[name] for name in graph.inputs])
    return y, lines


def assert_near(y: Array, expected: Array) -> None:
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(y, expected, rtol=0, atol=TOLERANCE * scale)


def image(*shape: int) -> Array:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("rows", "depth", "columns"), [(1, 64, 40), (5, 33, 17), (50, 200, 70), (200, 96, 768)]
)
def test_matrix_products(rows: int, depth: int, columns: int) -> None:
    net = Net()
    w, b = image(depth, columns), image(columns)
    y = net.op("MatMul", net.input("x", rows, depth), net.constant(w))
    y = net.op("Relu", net.op("Add", y, net.constant(b)))
    x = image(rows, depth)
    found, lines = run(net, y, {"x": x})
    assert_near(found, np.maximum(rounded(x) @ rounded(w) + b, 0))
    assert lines[0]["precision"] == ("bfloat16" if has_units() else "float32")


def test_gemm_with_a_residual() -> None:
    net = Net()
    w, b = image(48, 64), image(48)
    x = net.input("x", 30, 64)
    y = net.op("Gemm", x, net.constant(w), net.constant(b), transB=1)
    y = net.op("Add", y, net.input("r", 30, 48))
    inputs = {"x": image(30, 64), "r": image(30, 48)}
    found, _ = run(net, y, inputs)
    assert_near(found, rounded(inputs["x"]) @ rounded(w).T + b + inputs["r"])


def test_products_of_two_activations() -> None:
    net = Net()
    q, k = net.input("q", 2, 3, 50, 24), net.input("k", 2, 3, 40, 24)
    y = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]))
    inputs = {"q": image(2, 3, 50, 24), "k": image(2, 3, 40, 24)}
    found, _ = run(net, y, inputs)
    assert_near(found, rounded(inputs["q"]) @ rounded(inputs["k"]).swapaxes(2, 3))


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel": 1},
        {"kernel": 1, "strides": [2, 2]},
        {"kernel": 3, "pads": [1, 1, 1, 1]},
        {"kernel": 3, "pads": [0, 2, 1, 3], "strides": [2, 1], "dilations": [1, 2]},
        {"kernel": 5, "pads": [4, 4, 4, 4]},
    ],
)
@pytest.mark.parametrize("channels", [3, 16])
def test_convolutions(attributes: dict[str, Any], channels: int) -> None:
    attributes = dict(attributes)
    size = attributes.pop("kernel")
    x, w, b = image(2, channels, 13, 17), image(24, channels, size, size), image(24)

    def net(weights: Array) -> tuple[Net, str]:
        net = Net()
        wanted = net.input("x", *x.shape)
        return net, net.op("Conv", wanted, net.constant(weights), net.constant(b), **attributes)

    found, lines = run(*net(w), {"x": x})
    # A product that would mostly be padding stays in float32.
    pays = has_units() and channels * size * size >= 8
    assert lines[0]["precision"] == ("bfloat16" if pays else "float32")
    # Float32 products of rounded operands: the windows are not what is tested here.
    rounds = rounded if pays else np.float64
    exact, output = net(rounds(w).astype(np.float32))
    reference = evaluate(compile_graph(exact.graph(output)), {"x": rounds(x).astype(np.float32)})[output]
    assert_near(found, reference)


def test_what_is_only_read_rounded_is_written_rounded() -> None:
    x = image(1, 3, 26, 40)

    def outputs(*wanted: str) -> tuple[list[Array], int]:
        net = Net(seed=5)
        a = net.op("Relu", net.op("Conv", net.input("x", *x.shape), net.weights(48, 3, 3, 3), pads=[1] * 4))
        b = net.op("Conv", a, net.weights(48, 48, 2, 2))
        c = net.op("MaxPool", a, kernel_shape=[2, 2])
        y = net.op("Conv", net.op("Concat", b, c, axis=1), net.weights(32, 96, 3, 3), strides=[2, 2])
        names = {"a": a, "b": b, "c": c, "y": y}
        graph = compile_graph(net.graph(*(names[name] for name in wanted)))
        nodes = [
            node.with_attributes(precision="bfloat16") if node.op == "Conv" else node for node in graph.nodes
        ]
        engine = NativeEngine.of(graph.with_nodes(nodes), 2)
        found = engine.run([x])
        return found, engine.memory()["arena"]

    (y,), arena = outputs("y")
    # As outputs of the graph they are float32, and everything that is read of them is rounded there.
    (whole, *_), _ = outputs("y", "a", "b", "c")
    np.testing.assert_array_equal(y, whole)
    (with_a, _), _ = outputs("y", "a")
    np.testing.assert_array_equal(y, with_a)
    if has_units():
        assert arena > 0
        (_, plain) = outputs("y", "c")
        assert arena < plain


def test_weights_that_are_an_input_read_what_others_round() -> None:
    x, w = image(1, 8, 12, 20), image(16, 32, 3, 3)
    net = Net(seed=5)
    a = net.op("Relu", net.op("Conv", net.input("x", *x.shape), net.weights(32, 8, 3, 3)))
    y = net.op("Conv", a, net.input("w", *w.shape))
    found, lines = run(net, y, {"x": x, "w": w})
    reference = evaluate(compile_graph(net.graph(y)), {"x": x, "w": w})[y]
    assert np.abs(found - reference).max() <= 0.02 * np.abs(reference).max()
    assert lines[0]["precision"] == ("bfloat16" if has_units() else "float32")
    assert lines[1]["precision"] == "float32"


def test_transposed_convolution() -> None:
    x, w = image(1, 16, 7, 9), image(16, 12, 2, 2)

    def net(weights: Array) -> tuple[Net, str]:
        net = Net()
        return net, net.op("ConvTranspose", net.input("x", *x.shape), net.constant(weights), strides=[2, 2])

    found, _ = run(*net(w), {"x": x})
    exact, output = net(rounded(w).astype(np.float32))
    reference = evaluate(compile_graph(exact.graph(output)), {"x": rounded(x).astype(np.float32)})[output]
    assert_near(found, reference)


def test_a_model_loads_in_bfloat16(tmp_path: Path) -> None:
    net = Net(seed=3)
    y = net.op("Conv", net.input("x", 1, 8, 20, 20), net.weights(32, 8, 3, 3))
    y = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", y)))
    path = tmp_path / "net.onnx"
    onnx.save(net.model(net.op("Gemm", y, net.weights(32, 16))), path)
    x = image(1, 8, 20, 20)
    exact, model = vd.load(path)(x), vd.load(path, precision="bfloat16")
    # Each product rounds two operands to 8 bits: 2^-8 of each at most, and errors average out.
    assert sqnr(exact, model(x)) > 40
    expected = "bfloat16" if has_units() else "float32"
    precisions = {entry.precision for entry in model.profile(x).entries if entry.op in ("Conv", "MatMul")}
    assert precisions == {expected}
    assert (sqnr(exact, model(x)) == np.inf) == (not has_units())


def test_an_unknown_precision_is_refused() -> None:
    net = Net()
    graph = compile_graph(net.graph(net.op("MatMul", net.input("x", 4, 8), net.weights(8, 8))))
    nodes = [node.with_attributes(precision="half") for node in graph.nodes]
    with pytest.raises(vd.errors.VedetteError, match="precision is `half`, expected `float32` or `bfloat16`"):
        NativeEngine.of(graph.with_nodes(nodes), 1)
