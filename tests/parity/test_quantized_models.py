"""Models that ONNX Runtime's quantiser made: run here as they come, beside ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from bench import reference_networks
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_graphs import Net

import vedette as vd
from vedette import _native
from vedette.errors import InvalidModelError
from vedette.model.model import compile_file
from vedette.quantization import sqnr

X = np.random.default_rng(5).standard_normal((1, 3, 224, 224), dtype=np.float32)


class Samples:
    """What ONNX Runtime's calibrators read."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._data: Iterator[Any] = iter(
            [{"x": random.standard_normal((1, 3, 224, 224), dtype=np.float32)} for _ in range(2)]
        )

    def get_next(self) -> Any:
        return next(self._data, None)

    def __iter__(self) -> Iterator[Any]:
        return self._data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    onnx.save(reference_networks.mobilenet_v2(), made / "mobilenet_v2.onnx")
    return made


def onnxruntime_output(path: Path, x: np.ndarray) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("form", "activations", "per_channel"),
    [("QDQ", "QUInt8", True), ("QOperator", "QUInt8", True), ("QDQ", "QInt8", False)],
)
def test_static(folder: Path, form: str, activations: str, per_channel: bool) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    path = folder / f"{form}-{activations}.onnx"
    quantize_static(
        folder / "mobilenet_v2.onnx",
        path,
        Samples(),
        quant_format=QuantFormat[form],
        per_channel=per_channel,
        activation_type=QuantType[activations],
        weight_type=QuantType.QInt8,
    )
    graph, _ = compile_file(path)
    counts = Counter(node.op for node in graph.nodes)
    assert counts["QuantizedConv"] == 52
    assert counts["QuantizedMatMul"] == 1
    assert not counts.keys() & {"Conv", "MatMul", "Add", "Clip"}
    # Sums with a residual are rounded once here and twice there: units of the last place.
    assert sqnr(onnxruntime_output(path, X), vd.load(path)(X)) > 28


@pytest.mark.filterwarnings("ignore")
def test_dynamic(folder: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    net = Net(opset=17, seed=2)
    x = net.input("x", "n", "t", 64)
    y = net.op("MatMul", x, net.constant(net.random.normal(0, 0.125, (64, 96))))
    y = net.op("Relu", net.op("Add", y, net.weights(96)))
    y = net.op("Softmax", net.op("MatMul", y, net.constant(net.random.normal(0, 0.05, (96, 32)))))
    onnx.save(net.model(y), folder / "mlp.onnx")
    quantize_dynamic(folder / "mlp.onnx", folder / "mlp-dynamic.onnx")
    graph, _ = compile_file(folder / "mlp-dynamic.onnx")
    assert [node.op for node in graph.nodes] == ["DynamicQuantizedMatMul"] * 2 + ["Softmax"]
    x = np.random.default_rng(4).standard_normal((2, 7, 64), dtype=np.float32)
    exact = vd.load(folder / "mlp.onnx")(x)
    ours, theirs = vd.load(folder / "mlp-dynamic.onnx")(x), onnxruntime_output(folder / "mlp-dynamic.onnx", x)
    assert sqnr(theirs, ours) > 35
    # Rows are rounded by themselves, which can only be nearer to the float model.
    assert sqnr(exact, ours) > sqnr(exact, theirs) - 1


@pytest.mark.filterwarnings("ignore")
def test_dynamic_convolutions(folder: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    net = Net(opset=17, seed=2)
    x = net.input("x", "n", 3, "h", "w")
    y = net.op("Relu", net.op("Conv", x, net.weights(8, 3, 3, 3), net.weights(8), pads=[1, 0, 1, 2]))
    z = net.op("Conv", y, net.weights(8, 1, 3, 3), pads=[1] * 4, group=8)
    y = net.op("Add", net.op("Conv", z, net.weights(8, 8, 1, 1)), y)
    y = net.op("Conv", net.op("HardSwish", y), net.weights(6, 8, 3, 3), strides=[2, 2])
    onnx.save(net.model(y), folder / "conv.onnx")
    for kind in (QuantType.QUInt8, QuantType.QInt8):
        path = folder / f"conv-{kind.name}.onnx"
        quantize_dynamic(folder / "conv.onnx", path, weight_type=kind)
        assert any(node.op_type == "ConvInteger" for node in onnx.load(path).graph.node)
        graph, _ = compile_file(path)
        counts = Counter(node.op for node in graph.nodes)
        assert counts["QuantizedConv"] == 4
        assert "Conv" not in counts
        loaded, exact = vd.load(path), vd.load(folder / "conv.onnx")
        for x in (
            np.random.default_rng(4).standard_normal((2, 3, 15, 12), dtype=np.float32),
            np.random.default_rng(4).uniform(2, 3, (1, 3, 9, 9)).astype(np.float32),
        ):
            # A number halfway between two integers may go either way.
            assert sqnr(onnxruntime_output(path, x), loaded(x)) > 35
            assert sqnr(exact(x), loaded(x)) > 25
        nothing = np.zeros((1, 3, 6, 6), np.float32)
        np.testing.assert_allclose(loaded(nothing), exact(nothing), atol=0.1)


def test_what_has_no_integer_form_runs_as_defined(folder: Path) -> None:
    net = Net(opset=13)
    x = net.input("x", 5, 6)
    quantized, scale, zero = net.op("DynamicQuantizeLinear", x, outputs=3)
    w = net.constant(net.random.integers(0, 255, (6, 4)), np.uint8)
    product = net.op("MatMulInteger", quantized, w, zero, net.constant(7, np.uint8))
    y = net.op("Mul", net.op("Cast", product, to=TensorProto.FLOAT), scale)
    onnx.save(net.model(y, product, zero), folder / "integer.onnx")
    x = np.random.default_rng(4).standard_normal((5, 6), dtype=np.float32)
    session = onnxruntime.InferenceSession(str(folder / "integer.onnx"))
    for ours, theirs in zip(vd.load(folder / "integer.onnx")(x), session.run(None, {"x": x}), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_bytes_in_and_out(folder: Path) -> None:
    net = Net(opset=13)
    x = net.input("x", 1, 4, 6, 6, dtype=TensorProto.UINT8)
    scale, zero = net.constant(0.05), net.constant(100, np.uint8)
    real = net.op("DequantizeLinear", x, scale, zero)
    w = net.constant(net.random.integers(-127, 128, (5, 4, 3, 3)), np.int8)
    weights = net.op("DequantizeLinear", w, net.constant(0.01), net.constant(0, np.int8))
    y = net.op(
        "QuantizeLinear",
        net.op("Relu", net.op("Conv", real, weights)),
        net.constant(0.3),
        net.constant(0, np.uint8),
    )
    onnx.save(net.model(y), folder / "bytes.onnx")
    graph, _ = compile_file(folder / "bytes.onnx")
    assert [node.op for node in graph.nodes] == ["QuantizedConv"]
    x = np.random.default_rng(4).integers(0, 256, (1, 4, 6, 6)).astype(np.uint8)
    difference = vd.load(folder / "bytes.onnx")(x).astype(int) - onnxruntime_output(folder / "bytes.onnx", x)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scales_that_are_none_are_refused(folder: Path, scale: float) -> None:
    net = Net(opset=13)
    x = net.op("QuantizeLinear", net.input("x", 4), net.constant(scale), net.constant(0, np.uint8))
    onnx.save(
        net.model(net.op("DequantizeLinear", x, net.constant(scale), net.constant(0, np.uint8))),
        folder / "bad.onnx",
    )
    with pytest.raises(InvalidModelError, match="scale of zero"):
        vd.load(folder / "bad.onnx")


def qlinear_matmul(scale: float, dtype: type) -> onnx.ModelProto:
    """A product of bytes with these scales, which may be float16."""
    net = Net(opset=21)
    zero = net.constant(128, np.uint8)
    w = net.constant(net.random.integers(0, 256, (16, 8)), np.uint8)
    scales = [net.constant(number, dtype) for number in (0.02, 0.01, scale)]
    x = net.input("x", 4, 16, dtype=TensorProto.UINT8)
    y = net.op("QLinearMatMul", x, scales[0], zero, w, scales[1], zero, scales[2], zero)
    return net.model(y, ir_version=10)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_products_of_bytes(folder: Path, dtype: type) -> None:
    path = folder / "qlinear.onnx"
    onnx.save(qlinear_matmul(0.05, dtype), path)
    graph, _ = compile_file(path)
    assert [node.op for node in graph.nodes] == ["QuantizedMatMul"]
    x = np.random.default_rng(4).integers(0, 256, (4, 16)).astype(np.uint8)
    expected = ReferenceEvaluator(str(path)).run(None, {"x": x})[0]
    # The reference rounds its multiplier to float16, and here the weights' zero point is part of them.
    difference = np.abs(vd.load(path)(x).astype(int) - expected)
    assert difference.max() <= (1 if dtype is np.float32 else 2)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_products_of_bytes_with_no_scale_are_refused(folder: Path, scale: float) -> None:
    for dtype in (np.float32, np.float16):
        onnx.save(qlinear_matmul(scale, dtype), folder / "bad-qlinear.onnx")
        with pytest.raises(InvalidModelError, match="scale of zero"):
            vd.load(folder / "bad-qlinear.onnx")


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_scales_of_blocks_that_are_none_are_refused(folder: Path, scale: float) -> None:
    model, _ = matmul_nbits(4, True, 64)
    scales = next(tensor for tensor in model.graph.initializer if tensor.name == "s")
    wrong = numpy_helper.to_array(scales).copy()
    wrong[3] = scale
    scales.CopyFrom(numpy_helper.from_array(wrong, "s"))
    onnx.save(model, folder / "bad-blocks.onnx")
    with pytest.raises(InvalidModelError, match="not finite"):
        vd.load(folder / "bad-blocks.onnx")


def matmul_nbits(bits: int, symmetric: bool, rows: int) -> tuple[onnx.ModelProto, np.ndarray]:
    random = np.random.default_rng(bits)
    columns, block = 24, 32
    blocks = -(-rows // block)
    packed = random.integers(0, 256, (columns, blocks, block * bits // 8)).astype(np.uint8)
    inputs = ["x", "w", "s"]
    arrays = {"w": packed, "s": random.uniform(0.01, 0.1, columns * blocks).astype(np.float32)}
    if not symmetric:
        size = blocks * bits // 8
        arrays["z"] = random.integers(0, 256, columns * size).astype(np.uint8)
        inputs.append("z")
    node = helper.make_node(
        "MatMulNBits", inputs, ["y"], domain="com.microsoft", K=rows, N=columns, bits=bits, block_size=block
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, columns])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8), random.normal(0, 1, (3, rows))


@pytest.mark.parametrize(
    ("bits", "symmetric", "rows"), [(4, True, 64), (4, False, 64), (8, True, 64), (4, True, 70)]
)
def test_matmul_nbits(folder: Path, bits: int, symmetric: bool, rows: int) -> None:
    model, x = matmul_nbits(bits, symmetric, rows)
    onnx.save(model, folder / "nbits.onnx")
    graph, _ = compile_file(folder / "nbits.onnx")
    assert [node.op for node in graph.nodes if node.op != "Pad"] == ["BlockQuantizedMatMul"]
    assert "BlockQuantizedMatMul" in _native.supported_operators()
    expected = onnxruntime_output(folder / "nbits.onnx", x.astype(np.float32))
    # The engine may round the left side to 8 bits by block, as ONNX Runtime does at accuracy level 4.
    assert sqnr(expected, vd.load(folder / "nbits.onnx")(x.astype(np.float32))) > 35
