"""Transformers in bfloat16: what only products and attention read is written rounded, and no bit changes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_graphs import Net

from vedette import runtime
from vedette.model.graph import Array, Graph
from vedette.model.integer.quantizer import all_bfloat16, in_float, prepare
from vedette.model.native_engine import NativeEngine, compile_graph
from vedette.quantization import sqnr

TOKENS, WIDTH, HEADS, DEPTH = 20, 48, 3, 16


def block(*seen: str) -> Graph:
    """A transformer's block, of whose values these are outputs too."""
    net = Net(seed=2)
    x = net.input("x", 2, TOKENS, WIDTH)

    def product(y: str, rows: int, columns: int) -> str:
        y = net.op("MatMul", y, net.constant(net.random.normal(0, 0.2, (rows, columns))))
        return str(net.op("Add", y, net.constant(net.random.normal(0, 0.2, columns))))

    def norm(y: str) -> str:
        scale, bias = net.constant(np.linspace(0.5, 2, WIDTH)), net.constant(np.linspace(-1, 1, WIDTH))
        return str(net.op("LayerNormalization", y, scale, bias, axis=-1))

    normed = norm(x)
    perms = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    shape = net.integers(2, TOKENS, HEADS, DEPTH)
    q, k, v = (
        net.op("Transpose", net.op("Reshape", product(normed, WIDTH, WIDTH), shape), perm=perm)
        for perm in perms
    )
    weights = net.op("Softmax", net.op("Mul", net.op("MatMul", q, k), net.constant(0.25)), axis=-1)
    averaged = net.op("Transpose", net.op("MatMul", weights, v), perm=[0, 2, 1, 3])
    joined = net.op("Reshape", averaged, net.integers(2, TOKENS, WIDTH))
    added = net.op("Add", x, product(joined, WIDTH, WIDTH))
    hidden = net.op("Tanh", product(norm(added), WIDTH, 2 * WIDTH))
    y = net.op("Add", added, product(hidden, 2 * WIDTH, WIDTH))
    also = {"norm": normed, "key": k, "average": joined, "hidden": hidden}
    prepared = prepare(compile_graph(net.graph(y, *(also[name] for name in seen))))
    return in_float(prepared, all_bfloat16(prepared))


def run(graph: Graph, x: Array, threads: int = 1, isa: str | None = None) -> tuple[list[Array], int]:
    engine = NativeEngine.of(graph, threads, isa=isa)
    found = engine.run([x])
    return list(found), engine.memory()["arena"]


def tokens(seed: int) -> Array:
    return np.random.default_rng(seed).normal(0, 1, (2, TOKENS, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_only_read_rounded_is_written_rounded(threads: int) -> None:
    x = tokens(3)
    (y,), arena = run(block(), x, threads)
    # As outputs of the graph they are float32, and rounded where they are read.
    for seen in (["norm"], ["key"], ["average"], ["hidden"], ["norm", "key", "average", "hidden"]):
        found, _ = run(block(*seen), x, threads)
        np.testing.assert_array_equal(found[0], y)
        assert all(value.dtype == np.float32 for value in found)
    if runtime.cpu_features()["avx512_bf16"] and runtime.isa() in ("avx512", "amx"):
        # The hidden layer, which is the largest, takes half the memory.
        (_, plain) = run(block(), x, threads, "avx2")
        assert arena < plain


@pytest.mark.parametrize("isa", runtime.available_isas())
def test_every_level_computes_it(isa: str) -> None:
    (found,), _ = run(block(), tokens(4), isa=isa)
    (exact,), _ = run(block(), tokens(4), isa="scalar")
    # Four products one after the other, each of operands with errors of half a unit of 8 bits.
    assert sqnr(exact, found) > 35
