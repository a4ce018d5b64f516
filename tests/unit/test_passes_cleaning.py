"""Passes that take away: constants, identities, repetitions, dead code, other names of the same."""

import numpy as np
import pytest
from onnx_graphs import Net, assert_same_meaning, evaluate, operators

from vedette.errors import UnsupportedModelError
from vedette.model.graph import Graph
from vedette.model.passes import lower_activations, lower_gemm, normalize
from vedette.model.passes.common_subexpressions import merge_common_subexpressions
from vedette.model.passes.constants import fold_constants
from vedette.model.passes.dead_code import remove_dead_code
from vedette.model.passes.identities import remove_identities
from vedette.model.passes.ranks import note_shapes


def test_constants_are_folded_through_several_nodes() -> None:
    net = Net()
    x = net.input("x", 2, 3)
    bias = net.op("Add", net.op("Mul", net.constant([1, 2, 3]), net.constant(2.0)), net.constant(1.0))
    graph = net.graph(net.op("Add", x, bias))
    folded = fold_constants(graph, evaluate)
    assert operators(folded) == ["Add"]
    assert folded.constants[folded.nodes[0].inputs[1]].tolist() == [3, 5, 7]
    assert_same_meaning(graph, folded, {"x": (2, 3)})


def test_an_output_that_is_constant_is_folded() -> None:
    net = Net()
    graph = net.graph(net.op("Neg", net.constant([1.0, 2.0])))
    folded = fold_constants(graph, evaluate)
    assert folded.nodes == []
    assert evaluate(folded)[folded.outputs[0]].tolist() == [-1, -2]


def test_shapes_that_are_declared_are_folded() -> None:
    net = Net()
    x = net.input("x", 2, 3)
    graph = net.graph(
        net.op("Reshape", x, net.op("Slice", net.op("Shape", x), net.integers(1), net.integers(2)))
    )
    folded = remove_dead_code(fold_constants(graph, evaluate))
    assert operators(folded) == ["Reshape"]


def test_what_cannot_be_evaluated_stays_and_the_rest_is_folded() -> None:
    net = Net()
    x = net.input("x", 3)
    a = net.op("Neg", net.constant([1, 2, 3]))
    b = net.op("Abs", net.constant([1, 2, 3]))
    graph = net.graph(net.op("Add", net.op("Add", x, a), b))

    def without_abs(part: Graph) -> dict[str, np.ndarray]:
        if "Abs" in operators(part):
            raise UnsupportedModelError("no Abs")
        return evaluate(part)

    assert operators(fold_constants(graph, without_abs)) == ["Abs", "Add", "Add"]


def test_random_numbers_are_not_constants() -> None:
    net = Net()
    graph = net.graph(net.op("RandomNormal", shape=[2]))
    assert operators(fold_constants(graph, evaluate)) == ["RandomNormal"]


@pytest.mark.parametrize(
    "kind",
    ["Identity", "Cast", "Add", "Sub", "Mul", "Div", "Transpose", "Concat", "Pad", "Dropout"],
)
def test_identities_are_removed(kind: str) -> None:
    net = Net()
    x = net.op("Relu", net.input("x", "n", 3))
    y = {
        "Identity": lambda: net.op("Identity", x),
        "Cast": lambda: net.op("Cast", x, to=1),
        "Add": lambda: net.op("Add", net.constant(0.0), x),
        "Sub": lambda: net.op("Sub", x, net.constant([0.0])),
        "Mul": lambda: net.op("Mul", x, net.constant([[1.0]])),
        "Div": lambda: net.op("Div", x, net.constant(1.0)),
        "Transpose": lambda: net.op("Transpose", x, perm=[0, 1]),
        "Concat": lambda: net.op("Concat", x, axis=1),
        "Pad": lambda: net.op("Pad", x, net.integers(0, 0, 0, 0)),
        "Dropout": lambda: net.op("Dropout", x),
    }[kind]()
    graph = net.graph(net.op("Neg", y), y)
    removed = remove_identities(graph)
    assert operators(removed) == ["Relu", "Neg"]
    assert_same_meaning(graph, removed, {"x": (2, 3)})


@pytest.mark.parametrize(
    ("kind", "constant", "first"),
    [("Sub", 0.0, True), ("Div", 1.0, True), ("Add", [[[0.0]]], False), ("Mul", [1.0, 1.0, 1.0], False)],
)
def test_what_only_looks_like_an_identity_stays(kind: str, constant: object, first: bool) -> None:
    net = Net()
    x = net.input("x", "n", 1)
    c = net.constant(constant)
    graph = net.graph(net.op("Neg", net.op(kind, *((c, x) if first else (x, c)))))
    assert operators(remove_identities(graph)) == [kind, "Neg"]


def test_names_that_the_caller_asks_for_survive() -> None:
    net = Net()
    x = net.input("x", 3)
    first = net.op("Identity", x)
    relu = net.op("Relu", x)
    second, third = net.op("Identity", relu), net.op("Identity", relu)
    graph = net.graph(first, second, third, net.op("Neg", relu))
    removed = remove_identities(graph)
    assert removed.outputs == graph.outputs
    assert sorted(operators(removed)) == ["Identity", "Identity", "Neg", "Relu"]
    assert_same_meaning(graph, removed, {"x": (3,)})


def test_repetitions_are_merged_even_in_chains() -> None:
    net = Net()
    x = net.input("x", 3)
    a, b = (net.op("Neg", net.op("Abs", x)) for _ in range(2))
    c = net.op("LeakyRelu", x, alpha=0.1)
    d = net.op("LeakyRelu", x, alpha=0.2)
    graph = net.graph(net.op("Sum", a, b, c, d))
    merged = merge_common_subexpressions(graph)
    assert operators(merged) == ["Abs", "Neg", "LeakyRelu", "LeakyRelu", "Add", "Add", "Add"]
    assert_same_meaning(graph, merged, {"x": (3,)})


def test_dead_code_goes_with_its_constants() -> None:
    net = Net()
    x = net.input("x", 3)
    net.op("Add", x, net.constant([1, 2, 3]))
    graph = net.graph(net.op("Relu", x))
    cleaned = remove_dead_code(graph)
    assert operators(cleaned) == ["Relu"]
    assert not cleaned.constants


@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("c", [None, (4,), (1, 4), (3, 4), (3, 1), (), (1,)])
@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.5, 2.0)])
def test_gemm_is_a_matrix_product(
    transposed: tuple[int, int], c: tuple[int, ...] | None, scales: tuple[float, float]
) -> None:
    net = Net()
    a_shape = (5, 3) if transposed[0] else (3, 5)
    a = net.input("a", *a_shape)
    b = net.weights(*((4, 5) if transposed[1] else (5, 4)))
    inputs = (a, b) if c is None else (a, b, net.weights(*c))
    y = net.op("Gemm", *inputs, transA=transposed[0], transB=transposed[1], alpha=scales[0], beta=scales[1])
    graph = net.graph(y)
    lowered = lower_gemm(graph)
    assert operators(lowered)[0] == "MatMul"
    assert len(lowered.nodes) == 1 or c not in (None, (4,), (1, 4), (), (1,))
    assert_same_meaning(graph, lowered, {"a": a_shape})


def test_gemm_of_other_types_uses_plain_operators() -> None:
    net = Net()
    a = net.input("a", 5, 3, dtype=7)
    b = net.constant(np.arange(20).reshape(4, 5), np.int64)
    y = net.op("Gemm", a, b, net.constant([1, 2, 3, 4], np.int64), transA=1, transB=1, alpha=2.0, beta=3.0)
    lowered = lower_gemm(net.graph(y))
    assert operators(lowered) == ["Transpose", "Transpose", "MatMul", "Mul", "Mul", "Add"]
    result = evaluate(lowered, {"a": np.ones((5, 3), np.int64)})[y]
    assert result.dtype == np.int64
    assert result[0].tolist() == [23, 76, 129, 182]


def test_only_float32_becomes_an_activation() -> None:
    net = Net()
    x, n = net.input("x", 3), net.input("n", 3, dtype=6)
    graph = normalize(net.graph(net.op("Relu", x), net.op("Relu", n), net.op("Clip", x, net.constant(0.0))))
    assert operators(graph) == ["Activation", "Relu", "Activation"]
    assert graph.nodes[2].attributes["activation"] == {"kind": "relu"}


def test_bounds_that_are_not_constant_stay_a_clip() -> None:
    net = Net()
    x, low = net.input("x", 3), net.input("low")
    graph = lower_activations(net.graph(net.op("Clip", x, low), net.op("Clip", x, net.constant(np.nan))))
    assert operators(graph) == ["Clip", "Clip"]


def test_the_rank_of_what_is_reshaped_to_a_computed_shape_is_noted() -> None:
    net = Net()
    x = net.op("Relu", net.input("x", "n", "t", 8))
    part = net.op("Cast", net.op("Slice", net.op("Shape", x), net.integers(1), net.integers(2)), to=6)
    shape = net.op("Concat", net.integers(0), net.op("Cast", part, to=7), net.integers(2, 4), axis=0)
    # What removes identities itself asks for shapes.
    y = net.op("Reshape", x, net.op("Identity", shape))
    graph = net.graph(net.op("Mul", y, net.constant([1.0])), y)
    graph.types.pop(y)
    assert note_shapes(graph).type_of(y).shape == (None, None, 2, 4)
    assert "Identity" in operators(remove_identities(note_shapes(graph)))
