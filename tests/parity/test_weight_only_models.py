"""Weights of 4 and 8 bits under float activations, as exporters write them, beside ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import vedette as vd
from vedette.errors import InvalidModelError, UnsupportedModelError
from vedette.model import saved
from vedette.model.model import compile_file
from vedette.quantization import sqnr

TYPES = {"int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4, "int8": np.int8, "uint8": np.uint8}
LIMITS = {"int4": (-8, 8), "uint4": (0, 16), "int8": (-128, 128), "uint8": (0, 256)}
ROWS, COLUMNS = 128, 48


def write(
    path: Path, kind: str, *, by_row: bool, product: str, zero_points: bool, block: int, raw: bool = True
) -> np.ndarray:
    """A product with a matrix, ``[N, K]`` by row, else ``[K, N]``, with scales by block or column."""
    random = np.random.default_rng([block, zero_points, by_row])
    shape = (COLUMNS, ROWS) if by_row else (ROWS, COLUMNS)
    axis = 1 if by_row else 0

    def integers(size: tuple[int, ...]) -> np.ndarray:
        values = random.integers(*LIMITS[kind], size)
        return values.astype(np.int8 if LIMITS[kind][0] < 0 else np.uint8).astype(TYPES[kind])

    parameters = list(shape)
    parameters[axis] //= block or shape[axis]
    scales = tuple(parameters) if block else (COLUMNS,)
    matrix = integers(shape)
    packed = numpy_helper.from_array(matrix, "q")
    if not raw:
        packed = helper.make_tensor(
            "q", packed.data_type, shape, matrix.astype(np.int32).reshape(-1).tolist()
        )
    initializers = [
        packed,
        numpy_helper.from_array(random.uniform(0.01, 0.1, scales).astype(np.float32), "s"),
    ]
    if zero_points:
        initializers.append(numpy_helper.from_array(integers(scales), "z"))
    where = {"block_size": block, "axis": axis} if block else {"axis": 1 - axis}
    inputs = ["q", "s", "z"][: 2 + zero_points]
    nodes = [helper.make_node("DequantizeLinear", inputs, ["w"], **where)]
    if product == "Gemm":
        nodes.append(helper.make_node("Gemm", ["x", "w"], ["y"], transB=int(by_row)))
    else:
        if by_row:
            nodes.append(helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]))
        nodes.append(helper.make_node("MatMul", ["x", "t" if by_row else "w"], ["y"]))
    save(path, nodes, initializers)
    return random.normal(0, 1, (3, ROWS)).astype(np.float32)


def save(path: Path, nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto]) -> None:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", ROWS])],
        [onnx.ValueInfoProto(name="y")],
        initializers,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("zero_points", [False, True])
@pytest.mark.parametrize(
    ("by_row", "product", "block"),
    [
        (False, "MatMul", 32),
        (True, "MatMul", 32),
        (True, "Gemm", 64),
        (False, "MatMul", 0),
        (True, "Gemm", 0),
    ],
)
def test_weights_stay_as_small_as_they_come(
    kind: str, zero_points: bool, by_row: bool, product: str, block: int, tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    x = write(path, kind, by_row=by_row, product=product, zero_points=zero_points, block=block)
    graph, _ = compile_file(path)
    assert [(node.op, node.attributes["bits"]) for node in graph.nodes] == [
        ("BlockQuantizedMatMul", 4 if kind.endswith("4") else 8)
    ]
    session = onnxruntime.InferenceSession(str(path))
    # Either side may round rows of x to 8 bits by block, which leaves some 40 dB.
    assert sqnr(session.run(None, {"x": x})[0], vd.load(path)(x)) > 35


def test_elements_may_be_numbers_of_the_file(tmp_path: Path) -> None:
    for name, raw in (("raw", True), ("fields", False)):
        write(tmp_path / name, "int4", by_row=False, product="MatMul", zero_points=False, block=32, raw=raw)
    one, other = (compile_file(tmp_path / name)[0].constants for name in ("raw", "fields"))
    assert len(one) == len(other) > 0
    for a, b in zip(one.values(), other.values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_four_bits_are_an_eighth_on_file(tmp_path: Path) -> None:
    write(tmp_path / "net.onnx", "int4", by_row=False, product="MatMul", zero_points=False, block=128)
    held = saved.read(vd.load(tmp_path / "net.onnx").save(tmp_path / "net.vedette")).constants
    assert sum(array.nbytes for array in held) < 0.15 * 4 * ROWS * COLUMNS


def test_damaged_elements_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    write(path, "int4", by_row=False, product="MatMul", zero_points=False, block=32)
    model = onnx.load(path)
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-1]
    onnx.save(model, path)
    with pytest.raises(InvalidModelError, match="bytes of 4-bit elements"):
        vd.load(path)


def test_rounding_to_four_bits_at_run_time_is_refused(tmp_path: Path) -> None:
    zero = numpy_helper.from_array(np.asarray(0, np.int8).astype(ml_dtypes.int4), "z")
    scale = numpy_helper.from_array(np.asarray(0.1, np.float32), "s")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    save(tmp_path / "net.onnx", nodes, [scale, zero])
    with pytest.raises(UnsupportedModelError, match="4 bits"):
        vd.load(tmp_path / "net.onnx")
