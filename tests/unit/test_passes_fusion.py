"""Passes that join: patterns that are one operator of the engine, and epilogues."""

import math

import numpy as np
import pytest
from onnx_graphs import Net, assert_same_meaning, evaluate, operators

from vedette.model.graph import Graph
from vedette.model.native_engine import NativeEngine
from vedette.model.passes import normalize
from vedette.model.passes.batch_norm import fold_batch_norm
from vedette.model.passes.concatenation import fuse_concatenation
from vedette.model.passes.epilogue import fuse_activations
from vedette.model.passes.gelu import fuse_gelu
from vedette.model.passes.hard_swish import fuse_hard_swish
from vedette.model.passes.input_scale import fold_input_scale
from vedette.model.passes.layer_norm import fuse_layer_norm
from vedette.model.passes.matmul_scale import fold_matmul_scale
from vedette.model.passes.residual import fuse_residual
from vedette.model.passes.scale_and_bias import fold_scale_and_bias
from vedette.model.passes.silu import fuse_silu
from vedette.model.passes.squeeze_excite import fuse_squeeze_excite

IMAGE = (2, 4, 5, 6)


def kind(graph: Graph, at: int = -1) -> str:
    activation = graph.nodes[at].attributes["activation"]
    return str(activation["kind"])


@pytest.mark.parametrize("spelling", range(6))
def test_gelu(spelling: int) -> None:
    net = Net()
    x = net.op("Neg", net.input("x", "n", 3))
    if spelling % 2:
        scaled = net.op("Mul", x, net.constant(math.sqrt(0.5)))
    else:
        scaled = net.op("Div", x, net.constant([math.sqrt(2)]))
    gate = net.op("Add", net.op("Erf", scaled), net.constant(1.0))
    half = net.constant(0.5)
    y = [
        lambda: net.op("Mul", net.op("Mul", x, gate), half),
        lambda: net.op("Mul", net.op("Mul", x, half), gate),
        lambda: net.op("Mul", x, net.op("Mul", half, gate)),
    ][spelling // 2]()
    graph = normalize(net.graph(y))
    fused = fuse_gelu(graph)
    assert operators(fused) == ["Neg", "Activation"]
    assert kind(fused) == "gelu"
    assert_same_meaning(graph, fused, {"x": (2, 3)})


@pytest.mark.parametrize("change", ["one", "half", "root", "other x", "shared"])
def test_what_is_almost_gelu_stays(change: str) -> None:
    net = Net()
    x = net.input("x", "n", 3)
    erf = net.op("Erf", net.op("Div", x, net.constant(2.0 if change == "root" else math.sqrt(2))))
    gate = net.op("Add", erf, net.constant(2.0 if change == "one" else 1.0))
    other = net.op("Neg", x) if change == "other x" else x
    y = net.op("Mul", net.op("Mul", other, gate), net.constant(1.0 if change == "half" else 0.5))
    graph = normalize(net.graph(y, erf) if change == "shared" else net.graph(y))
    assert operators(fuse_gelu(graph)) == operators(graph)


@pytest.mark.parametrize("spelling", range(5))
def test_hard_swish(spelling: int) -> None:
    net = Net(opset=14)
    x = net.op("Neg", net.input("x", "n", 3))
    gate = net.op("Clip", net.op("Add", x, net.constant(3.0)), net.constant(0.0), net.constant(6.0))
    six, sixth = net.constant([6.0]), net.constant(1 / 6)
    y = [
        lambda: net.op("Div", net.op("Mul", x, gate), six),
        lambda: net.op("Mul", net.op("Mul", gate, x), sixth),
        lambda: net.op("Mul", x, net.op("Div", gate, six)),
        lambda: net.op("Mul", x, net.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)),
        lambda: net.op("HardSwish", x),
    ][spelling]()
    graph = normalize(net.graph(y))
    fused = fuse_hard_swish(graph)
    assert operators(fused)[-1] == "Activation"
    assert len(fused.nodes) - operators(fused).count("Clip") <= (4 if spelling > 2 else 2)
    assert kind(fused) in ("scaled_hard_sigmoid", "hard_swish")
    assert_same_meaning(graph, fused, {"x": (2, 3)})


@pytest.mark.parametrize(("high", "factor"), [(6.0, 1 / 5), (5.0, 1 / 6)])
def test_what_is_almost_hard_swish_stays(high: float, factor: float) -> None:
    net = Net()
    x = net.input("x", "n", 3)
    gate = net.op("Clip", net.op("Add", x, net.constant(3.0)), net.constant(0.0), net.constant(high))
    graph = normalize(net.graph(net.op("Mul", net.op("Mul", x, gate), net.constant(factor))))
    assert operators(fuse_hard_swish(graph)) == operators(graph)


def test_silu_and_mish() -> None:
    net = Net(opset=18)
    x = net.input("x", "n", 3)
    a = net.op("Mul", x, net.op("Sigmoid", x))
    b = net.op("Mul", net.op("Sigmoid", net.op("Mul", a, net.constant(1.702))), a)
    graph = normalize(net.graph(net.op("Mul", b, net.op("Tanh", net.op("Softplus", b)))))
    fused = fuse_silu(graph)
    assert [node.attributes["activation"]["kind"] for node in fused.nodes] == ["silu", "silu", "mish"]
    assert fused.nodes[1].attributes["activation"]["alpha"] == pytest.approx(1.702)
    assert_same_meaning(graph, fused, {"x": (2, 3)})


def test_a_gate_that_others_read_stays() -> None:
    net = Net()
    x = net.input("x", "n", 3)
    gate = net.op("Sigmoid", x)
    graph = normalize(net.graph(net.op("Mul", x, gate), gate))
    assert operators(fuse_silu(graph)) == ["Activation", "Mul"]


def conv(net: Net, x: str, out: int, cin: int, bias: bool = True, size: int = 3, **attributes: object) -> str:
    groups = int(str(attributes.get("group", 1)))
    inputs = (x, net.weights(out, cin // groups, size, size), *((net.weights(out),) if bias else ()))
    return str(net.op("Conv", *inputs, kernel_shape=[size, size], **attributes))


def linear(net: Net, kind: str, x: str, bias: bool) -> tuple[str, int]:
    """A node of that kind with constant weights; its output and channels."""
    given = (net.weights(6),) if bias else ()
    match kind:
        case "Conv":
            return conv(net, x, 6, 4, bias, pads=[1, 1, 1, 1], group=2), 6
        case "ConvTranspose":
            return str(
                net.op("ConvTranspose", x, net.weights(4, 3, 2, 2), *given, strides=[2, 2], group=2)
            ), 6
        case _:
            y = net.op("MatMul", x, net.weights(6, 6))
            return str(net.op("Add", y, *given) if bias else y), 6


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("maker", ["Conv", "ConvTranspose"])
def test_batch_norm_is_folded(maker: str, bias: bool) -> None:
    net = Net()
    y, channels = linear(net, maker, net.input("x", "n", *IMAGE[1:]), bias)
    variance = net.constant(net.random.uniform(0.5, 2, channels))
    statistics = [net.weights(channels) for _ in range(3)]
    graph = net.graph(net.op("BatchNormalization", y, *statistics, variance, epsilon=1e-3))
    folded = fold_batch_norm(graph)
    assert operators(folded) == [maker]
    assert_same_meaning(graph, folded, {"x": IMAGE})


def test_batch_norm_is_folded_into_a_matrix_product() -> None:
    net = Net()
    x = net.input("x", "n", 5)
    y = net.op("Gemm", x, net.weights(6, 5), net.weights(6), transB=1)
    statistics = [net.weights(6) for _ in range(3)]
    y = net.op("BatchNormalization", y, *statistics, net.constant(np.ones(6)))
    graph = normalize(net.graph(y))
    folded = fold_batch_norm(graph)
    assert operators(folded) == ["MatMul"]
    assert_same_meaning(graph, folded, {"x": (3, 5)})


def test_batch_norm_stays_where_the_convolution_is_read_twice() -> None:
    net = Net()
    y = conv(net, net.input("x", *IMAGE), 6, 4)
    z = net.op("BatchNormalization", y, *[net.weights(6) for _ in range(3)], net.constant(np.ones(6)))
    graph = net.graph(net.op("Add", z, y))
    assert operators(fold_batch_norm(graph)) == ["Conv", "BatchNormalization", "Add"]


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1), (1,)])
def test_batch_norm_that_stands_alone_takes_what_scales_it(shape: tuple[int, ...]) -> None:
    net = Net()
    x = net.op("Neg", net.input("x", "n", *IMAGE[1:]))
    y = net.op("BatchNormalization", x, *[net.weights(4) for _ in range(3)], net.constant(np.ones(4)))
    y = net.op("Add", net.op("Mul", y, net.weights(*shape)), net.weights(*shape))
    graph = net.graph(y)
    folded = fold_batch_norm(graph)
    assert operators(folded) == ["Neg", "BatchNormalization"]
    assert_same_meaning(graph, folded, {"x": IMAGE})


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("maker", ["Conv", "ConvTranspose", "MatMul"])
@pytest.mark.parametrize("constant_first", [True, False])
@pytest.mark.parametrize("by_channel", [True, False])
def test_scale_and_bias_are_folded(
    maker: str, kind: str, constant_first: bool, by_channel: bool, bias: bool
) -> None:
    net = Net()
    y, channels = linear(net, maker, net.input("x", "n", *IMAGE[1:]), bias)
    shape = () if not by_channel else (channels,) if maker == "MatMul" else (1, channels, 1, 1)
    c = net.weights(*shape)
    graph = normalize(net.graph(net.op(kind, *((c, y) if constant_first else (y, c)))))
    folded = fold_scale_and_bias(graph)
    stays = kind == "Div" and constant_first
    assert operators(folded) == ([maker, "Div"] if stays else [maker])
    assert_same_meaning(graph, folded, {"x": IMAGE})


@pytest.mark.parametrize("shape", [(6,), (1, 1, 5, 6), (2, 1, 1, 1), (1, 1, 1, 1, 1)])
def test_constants_that_are_not_by_channel_stay(shape: tuple[int, ...]) -> None:
    net = Net()
    y = conv(net, net.input("x", *IMAGE), 4, 4, pads=[1, 1, 1, 1])
    graph = net.graph(net.op("Add", y, net.weights(*shape)))
    assert operators(fold_scale_and_bias(graph)) == ["Conv", "Add"]


def test_a_constant_that_widens_a_single_channel_stays() -> None:
    net = Net()
    y = conv(net, net.input("x", *IMAGE), 1, 4)
    graph = net.graph(net.op("Mul", y, net.weights(1, 3, 1, 1)))
    assert operators(fold_scale_and_bias(graph)) == ["Conv", "Mul"]


@pytest.mark.parametrize("shape", [(), (1,), (1, 4, 1, 1)])
def test_an_affine_block_before_convolutions_is_folded(shape: tuple[int, ...]) -> None:
    net = Net()
    x = net.op("Relu", net.input("x", "n", *IMAGE[1:]))
    x = net.op("Add", net.op("Mul", x, net.weights(*shape)), net.weights(*shape))
    graph = net.graph(conv(net, x, 6, 4), conv(net, x, 4, 4, bias=False, group=2))
    folded = fold_input_scale(graph)
    assert operators(folded) == ["Relu", "Conv", "Conv"]
    assert_same_meaning(graph, folded, {"x": IMAGE})


def test_a_shift_stays_before_a_padded_convolution() -> None:
    net = Net()
    x = net.input("x", *IMAGE)
    shifted = net.op("Add", x, net.weights(1, 4, 1, 1))
    scaled = net.op("Mul", net.op("Relu", shifted), net.constant(2.0))
    graph = net.graph(conv(net, shifted, 6, 4, pads=[1, 1, 1, 1]), conv(net, scaled, 6, 4, pads=[1, 1, 1, 1]))
    folded = fold_input_scale(graph)
    assert operators(folded) == ["Add", "Relu", "Conv", "Conv"]
    assert_same_meaning(graph, folded, {"x": IMAGE})


def test_the_scale_of_an_affine_block_moves_past_its_shift() -> None:
    net = Net()
    x = net.op("Relu", net.input("x", "n", *IMAGE[1:]))
    x = net.op("Add", net.op("Mul", x, net.constant([0.4])), net.constant([-0.3]))
    graph = net.graph(conv(net, x, 6, 4, pads=[1, 1, 1, 1]), conv(net, x, 4, 4, group=4, pads=[1, 1, 1, 1]))
    folded = fold_input_scale(graph)
    assert operators(folded) == ["Relu", "Add", "Conv", "Conv"]
    assert_same_meaning(graph, folded, {"x": IMAGE})


@pytest.mark.parametrize("square", ["Pow", "Mul"])
@pytest.mark.parametrize("axes", [[-1], [2], [1, 2], [-2, -1]])
def test_layer_norm(square: str, axes: list[int]) -> None:
    net = Net()
    x = net.op("Neg", net.input("x", "n", 3, 8))
    shape = (8,) if len(axes) == 1 else (3, 8)
    centered = net.op("Sub", x, net.op("ReduceMean", x, axes=axes))
    squared = (
        net.op("Pow", centered, net.constant(2.0)) if square == "Pow" else net.op("Mul", centered, centered)
    )
    variance = net.op("ReduceMean", squared, axes=axes)
    root = net.op("Sqrt", net.op("Add", variance, net.constant(1e-5)))
    y = net.op("Add", net.op("Mul", net.op("Div", centered, root), net.weights(*shape)), net.weights(*shape))
    graph = net.graph(y)
    fused = fuse_layer_norm(graph)
    assert operators(fused) == ["Neg", "LayerNormalization"]
    assert_same_meaning(graph, fused, {"x": (2, 3, 8)})


@pytest.mark.parametrize("change", ["axis", "power", "shared", "weights"])
def test_what_is_almost_layer_norm_stays(change: str) -> None:
    net = Net()
    x = net.input("x", 2, 3, 8)
    axes = [1] if change == "axis" else [-1]
    centered = net.op("Sub", x, net.op("ReduceMean", x, axes=axes))
    squared = net.op("Pow", centered, net.constant(3.0 if change == "power" else 2.0))
    root = net.op("Sqrt", net.op("Add", net.op("ReduceMean", squared, axes=axes), net.constant(1e-5)))
    scale = net.weights(3, 8) if change == "weights" else net.weights(8)
    y = net.op("Add", net.op("Mul", net.op("Div", centered, root), scale), net.weights(8))
    graph = net.graph(y, root) if change == "shared" else net.graph(y)
    assert operators(fuse_layer_norm(graph)) == operators(graph)


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("mean", ["GlobalAveragePool", "ReduceMean"])
def test_squeeze_excite(mean: str, residual: bool) -> None:
    net = Net()
    x = net.op("Neg", net.input("x", "n", *IMAGE[1:]))
    pooled = net.op(mean, x) if mean == "GlobalAveragePool" else net.op(mean, x, axes=[2, 3], keepdims=1)
    inner = net.op("Relu", conv(net, pooled, 2, 4, size=1))
    gate = net.op("HardSigmoid", conv(net, inner, 4, 2, bias=False, size=1), alpha=0.2)
    y = net.op("Mul", x, gate)
    graph = fuse_activations(normalize(net.graph(net.op("Add", x, y) if residual else y)))
    fused = fuse_squeeze_excite(graph)
    assert operators(fused) == ["Neg", "SqueezeExcite"]
    assert fused.nodes[1].attributes["residual"] is residual
    assert_same_meaning(graph, fused, {"x": IMAGE})


def test_a_gate_of_another_image_is_no_squeeze_excite() -> None:
    net = Net()
    x, other = net.input("x", *IMAGE), net.input("other", *IMAGE)
    inner = net.op("Relu", conv(net, net.op("GlobalAveragePool", other), 2, 4, size=1))
    gate = net.op("Sigmoid", conv(net, inner, 4, 2, size=1))
    graph = fuse_activations(normalize(net.graph(net.op("Mul", x, gate))))
    assert "SqueezeExcite" not in operators(fuse_squeeze_excite(graph))


@pytest.mark.parametrize(("parts", "alike"), [(2, True), (4, True), (3, False)])
def test_convolutions_read_concatenated_channels_in_place(parts: int, alike: bool) -> None:
    net = Net()
    x = net.input("x", *IMAGE)
    made = [conv(net, x, 16, 4, size=1) for _ in range(parts)]
    if not alike:
        # In C order, while what convolutions write is channels-last.
        made[1] = net.input("other", 2, 16, 5, 6)
    graph = normalize(net.graph(conv(net, net.op("Concat", *made, axis=1), 8, 16 * parts, pads=[1] * 4)))
    fused = fuse_concatenation(graph)
    assert operators(fused) == ["Conv"] * (len(fused.nodes))
    shapes = {"x": IMAGE} if alike else {"x": IMAGE, "other": (2, 16, 5, 6)}
    assert_same_meaning(graph, fused, shapes)
    random = np.random.default_rng(2)
    inputs = {name: random.normal(0, 2, shape).astype(np.float32) for name, shape in shapes.items()}
    [expected] = evaluate(graph, inputs).values()
    [actual] = NativeEngine.of(fused).run([inputs[name] for name in fused.inputs])
    np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


def test_parts_of_different_sizes_are_concatenated() -> None:
    net = Net()
    x = net.input("x", *IMAGE)
    joined = net.op("Concat", conv(net, x, 16, 4, size=1), conv(net, x, 32, 4, size=1), axis=1)
    graph = normalize(net.graph(conv(net, joined, 8, 48)))
    assert "Concat" in operators(fuse_concatenation(graph))


@pytest.mark.parametrize("maker", ["Conv", "ConvTranspose", "MatMul"])
def test_activations_join_what_comes_before(maker: str) -> None:
    net = Net()
    y, _ = linear(net, maker, net.input("x", "n", *IMAGE[1:]), bias=False)
    graph = normalize(net.graph(net.op("Relu", net.op("Tanh", y))))
    fused = fuse_activations(graph)
    assert operators(fused) == [maker, "Activation"]
    assert kind(fused, 0) == "tanh"
    assert_same_meaning(graph, fused, {"x": IMAGE})


def test_an_activation_does_not_join_what_others_read() -> None:
    net = Net()
    y = conv(net, net.input("x", *IMAGE), 6, 4)
    graph = normalize(net.graph(net.op("Relu", y), y))
    assert operators(fuse_activations(graph)) == ["Conv", "Activation"]


@pytest.mark.parametrize("order", [True, False])
def test_residuals_join_the_later_convolution_and_come_before_the_activation(order: bool) -> None:
    net = Net()
    x = net.input("x", "n", 4, "h", "w")
    a = conv(net, net.op("Relu", conv(net, x, 4, 4, pads=[1, 1, 1, 1])), 4, 4, auto_pad="SAME_UPPER")
    b = conv(net, x, 4, 4, size=1)
    graph = normalize(net.graph(net.op("Relu", net.op("Add", *((a, b) if order else (b, a))))))
    fused = fuse_activations(fuse_residual(graph))
    assert operators(fused) == ["Conv", "Conv", "Conv"]
    assert kind(fused) == "relu"
    assert_same_meaning(graph, fused, {"x": IMAGE})


@pytest.mark.parametrize("other", [(1, 4, 5, 6), (2, 1, 5, 6), (2, 4, 5, 1), (6,), (2, 4, None, 6)])
def test_what_may_be_broadcast_is_no_residual(other: tuple[int | None, ...]) -> None:
    net = Net()
    y = conv(net, net.input("x", *IMAGE), 4, 4, pads=[1, 1, 1, 1])
    graph = net.graph(net.op("Add", y, net.input("other", *other)))
    assert operators(fuse_residual(graph)) == ["Conv", "Add"]


def test_sizes_of_the_same_name_are_not_trusted() -> None:
    net = Net()
    y = conv(net, net.input("x", 1, 4, "?", "?"), 4, 4, size=1)
    graph = net.graph(net.op("Add", y, net.input("other", 1, 4, "?", "?")))
    assert operators(fuse_residual(graph)) == ["Conv", "Add"]


def test_residuals_of_attention_join_its_projection() -> None:
    net = Net()
    x = net.input("x", "n", "t", 8)
    heads = net.op("Reshape", net.op("MatMul", x, net.weights(8, 24)), net.integers(0, -1, 3, 2, 4))
    heads = net.op("Transpose", heads, perm=[2, 0, 3, 1, 4])
    q, k, v = (
        net.op(
            "Squeeze",
            net.op("Slice", heads, net.integers(i), net.integers(i + 1), net.integers(0)),
            net.integers(0),
        )
        for i in range(3)
    )
    scores = net.op("MatMul", net.op("Mul", q, net.constant(0.5)), net.op("Transpose", k, perm=[0, 1, 3, 2]))
    mixed = net.op("Transpose", net.op("MatMul", net.op("Softmax", scores), v), perm=[0, 2, 1, 3])
    y = net.op("MatMul", net.op("Reshape", mixed, net.integers(0, -1, 8)), net.weights(8, 8))
    graph = net.graph(net.op("Add", x, y))
    fused = fuse_residual(fold_matmul_scale(graph))
    assert "Add" not in operators(fused)
    assert "Mul" not in operators(fused)
    assert_same_meaning(graph, fused, {"x": (2, 5, 8)})


def test_numbers_become_the_alpha_of_a_matrix_product() -> None:
    net = Net()
    a, b = net.input("a", "n", 3, 4), net.input("b", "n", 4, 5)
    product = net.op("MatMul", net.op("Mul", a, net.constant([0.5])), net.op("Div", b, net.constant(4.0)))
    graph = net.graph(net.op("Div", product, net.constant(0.25)))
    folded = fold_matmul_scale(graph)
    assert operators(folded) == ["MatMul"]
    assert folded.nodes[0].attributes["alpha"] == 0.5
    assert_same_meaning(graph, folded, {"a": (2, 3, 4), "b": (2, 4, 5)})
