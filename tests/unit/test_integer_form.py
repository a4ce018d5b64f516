"""The integer form of graphs: what is written how, and that it means nearly the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from integer_reference import OPERATORS
from onnx_graphs import Net, evaluate, operators

from vedette.model import native_engine
from vedette.model.graph import Array, Graph
from vedette.model.integer.calibration import calibrate
from vedette.model.integer.quantizer import default_precisions, lower_to_integers, prepare
from vedette.model.integer.ranges import choose_ranges
from vedette.model.integer.recipe import Recipe
from vedette.quantization import sqnr

RANDOM = np.random.default_rng(11)


def compiled(net: Net, *outputs: str) -> Graph:
    return prepare(native_engine.compile_graph(net.graph(*outputs)))


def quantized(graph: Graph, inputs: Mapping[str, Array], changes: Mapping[str, str] | None = None) -> Graph:
    arrays = [inputs[name] for name in graph.inputs]
    seen = calibrate(graph, [arrays], threads=1)
    recipe = Recipe(
        "",
        choose_ranges(graph, seen, "minmax", native_engine.evaluate),
        {},
        {},
        {},
    )
    return lower_to_integers(
        graph, recipe, default_precisions(graph) | dict(changes or {}), native_engine.evaluate
    )


def noise(before: Graph, after: Graph, inputs: Mapping[str, Array]) -> float:
    expected, actual = evaluate(before, inputs), evaluate(after, inputs)
    assert list(expected) == list(actual)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        assert actual[name].shape == array.shape
    return min(sqnr(array, actual[name]) for name, array in expected.items())


def image(*shape: int) -> Array:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


def filters(net: Net, *shape: int) -> str:
    return net.constant(net.random.normal(0, np.prod(shape[1:]) ** -0.5, shape))


def conv(net: Net, x: str, channels: tuple[int, int], size: int = 3, **attributes: object) -> str:
    groups = int(attributes.get("group", 1))  # type: ignore[call-overload]
    w = filters(net, channels[1], channels[0] // groups, size, size)
    return str(net.op("Conv", x, w, net.weights(channels[1]), pads=[size // 2] * 4, **attributes))


def test_a_chain_of_convolutions_has_no_floats_within() -> None:
    net = Net()
    x = net.op("Relu", conv(net, net.input("x", 1, 3, 12, 12), (3, 8)))
    y = conv(net, x, (8, 8), group=8)
    y = net.op("Clip", y, net.constant(0.0), net.constant(6.0))
    y = net.op("Add", conv(net, y, (8, 8), 1), x)
    graph = compiled(net, conv(net, y, (8, 4)))
    inputs = {"x": image(1, 3, 12, 12)}
    after = quantized(graph, inputs)
    assert operators(after) == ["QuantizeLinear", *["QuantizedConv"] * 4]
    residual = after.nodes[3]
    assert residual.input(4) == after.nodes[1].output
    assert "y_scale" not in after.nodes[-1].attributes
    # Four roundings to 8 bits of values with a few outliers.
    assert noise(graph, after, inputs) > 30


@pytest.mark.parametrize("kind", ["gelu", "HardSwish", "Sigmoid", "silu", "LeakyRelu", "Tanh"])
def test_activations_become_tables(kind: str) -> None:
    net = Net(opset=20)
    y = conv(net, net.input("x", 1, 3, 10, 10), (3, 6))
    match kind:
        case "gelu":
            y = net.op("Gelu", y)
        case "silu":
            y = net.op("Mul", y, net.op("Sigmoid", y))
        case _:
            y = net.op(kind, y)
    graph = compiled(net, conv(net, y, (6, 4)))
    inputs = {"x": image(1, 3, 10, 10)}
    after = quantized(graph, inputs)
    assert operators(after) == ["QuantizeLinear", "QuantizedConv", "QuantizedConv"]
    table = after.constants[after.nodes[1].inputs[5] or ""]
    assert (table.shape, table.dtype) == ((256,), np.uint8)
    assert noise(graph, after, inputs) > 28


def test_what_stands_between_convolutions_follows() -> None:
    net = Net(opset=18)
    x = net.op("Relu", conv(net, net.input("x", 1, 3, 16, 16), (3, 8)))
    a = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    b = net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    joined = net.op("Concat", a, b, axis=1)
    up = net.op("Resize", joined, "", net.constant([1, 1, 2, 2]), mode="nearest", nearest_mode="floor",
                coordinate_transformation_mode="asymmetric")  # fmt: skip
    y = net.op("Add", up, net.op("Concat", x, x, axis=1))
    y = net.op("Mul", y, net.op("Sigmoid", conv(net, y, (16, 16), 1)))
    y = net.op("Transpose", net.op("Reshape", y, net.integers(1, 16, 16, 16)), perm=[0, 1, 3, 2])
    y = net.op("Pad", y, net.integers(0, 0, 1, 1, 0, 0, 1, 1), net.constant(0.0))
    graph = compiled(net, conv(net, y, (16, 4)))
    inputs = {"x": image(1, 3, 16, 16)}
    after = quantized(graph, inputs)
    floats = [
        node.op for node in after.nodes if node.op in graph_operators(graph) and after.is_float32(node.output)
    ]
    # The last convolution gives the output in float; nothing else does.
    assert floats == []
    assert operators(after).count("QuantizeLinear") == 1
    assert "DequantizeLinear" not in operators(after)
    assert noise(graph, after, inputs) > 25


def graph_operators(graph: Graph) -> set[str]:
    return {node.op for node in graph.nodes} - OPERATORS.keys()


def test_what_is_enlarged_is_rounded_before_it_is() -> None:
    net = Net(seed=6)
    x = net.op("Relu", conv(net, net.input("x", 1, 3, 8, 8), (3, 8)))
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    settings = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    y = net.op("Relu", conv(net, net.op("Resize", x, "", scales, **settings), (8, 8)))
    graph = compiled(net, y)
    inputs = {"x": image(1, 3, 8, 8)}
    after = quantized(graph, inputs, {x: "float32"})
    assert operators(after) == ["Conv", "QuantizeLinear", "Resize", "QuantizedConv"]
    assert noise(graph, after, inputs) > 30


@pytest.mark.parametrize("groups", [1, 4])
def test_transposed_convolutions_of_a_detector_head(groups: int) -> None:
    net = Net(seed=2)
    x = net.op("Relu", conv(net, net.input("x", 1, 3, 8, 8), (3, 8)))
    up = {"kernel_shape": [2, 2], "strides": [2, 2]}
    y = net.op("ConvTranspose", x, filters(net, 8, 8 // groups, 2, 2), net.weights(8), group=groups, **up)
    y = net.op("ConvTranspose", net.op("Relu", y), filters(net, 8, 1, 2, 2), net.weights(1), **up)
    graph = compiled(net, net.op("Sigmoid", y))
    inputs = {"x": image(1, 3, 8, 8)}
    after = quantized(graph, inputs)
    assert operators(after) == ["QuantizeLinear", "QuantizedConv", *["QuantizedConvTranspose"] * 2]
    # What goes into the sigmoid is not rounded, so the last product does it.
    assert "y_scale" not in after.nodes[3].attributes
    assert after.nodes[3].attributes["activation"]["kind"] == "sigmoid"
    assert noise(graph, after, inputs) > 30


def test_squeeze_excite_and_classifier() -> None:
    net = Net()
    x = net.op("Relu", conv(net, net.input("x", 1, 3, 8, 8), (3, 8)))
    squeezed = net.op("Relu", conv(net, net.op("GlobalAveragePool", x), (8, 4), 1))
    x = net.op("Mul", x, net.op("HardSigmoid", conv(net, squeezed, (4, 8), 1)))
    x = net.op("Flatten", net.op("GlobalAveragePool", conv(net, x, (8, 8), 1)))
    graph = compiled(net, net.op("Gemm", x, filters(net, 5, 8), net.weights(5), transB=1))
    inputs = {"x": image(1, 3, 8, 8)}
    after = quantized(graph, inputs)
    assert operators(after) == [
        "QuantizeLinear", "QuantizedConv", "QuantizedSqueezeExcite", "QuantizedConv",
        "QuantizedGlobalAveragePool", "Flatten", "QuantizedMatMul",
    ]  # fmt: skip
    assert noise(graph, after, inputs) > 25


def test_transformers_quantise_rows() -> None:
    net = Net(opset=20)
    x = net.input("x", 1, 6, 16)
    y = net.op("LayerNormalization", x, net.weights(16), net.weights(16), axis=-1)
    y = net.op("Add", net.op("MatMul", y, filters(net, 16, 32)), net.weights(32))
    y = net.op("MatMul", net.op("Gelu", y), filters(net, 32, 16))
    graph = compiled(net, net.op("Softmax", net.op("Add", y, x)))
    inputs = {"x": image(1, 6, 16)}
    after = quantized(graph, inputs)
    assert operators(after) == ["LayerNormalization", *["DynamicQuantizedMatMul"] * 2, "Softmax"]
    assert after.nodes[1].attributes["activation"] == {"kind": "gelu"}
    assert noise(graph, after, inputs) > 30


def test_a_node_kept_out_is_float_and_the_rest_is_not() -> None:
    net = Net()
    first = net.op("Relu", conv(net, net.input("x", 1, 3, 9, 9), (3, 8)))
    second = net.op("Relu", conv(net, first, (8, 8)))
    graph = compiled(net, conv(net, second, (8, 4)))
    inputs = {"x": image(1, 3, 9, 9)}
    middle = graph.nodes[1].output
    after = quantized(graph, inputs, {middle: "bfloat16"})
    assert operators(after) == ["QuantizeLinear", "QuantizedConv", "Conv", "QuantizeLinear", "QuantizedConv"]
    assert after.nodes[2].attributes["precision"] == "bfloat16"
    assert "y_scale" not in after.nodes[1].attributes
    assert noise(graph, after, inputs) > noise(graph, quantized(graph, inputs), inputs) - 1
