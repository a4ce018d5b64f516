"""Small valid files that fuzzing starts from."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import vedette


def images() -> Iterator[bytes]:
    """A picture in every format that is read."""
    pixels = np.random.default_rng(0).integers(0, 255, (9, 13, 3), np.uint8)
    picture = Image.fromarray(pixels)
    for name, options in [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ]:
        for mode in ("RGB", "L"):
            file = io.BytesIO()
            picture.convert(mode).save(file, name, **options)
            yield file.getvalue()
    file = io.BytesIO()
    picture.convert("P").save(file, "PNG")
    yield file.getvalue()


def pixels() -> Iterator[bytes]:
    """Every kernel on a small image of noise."""
    random = np.random.default_rng(0)
    for kind in range(5):
        for channels in range(4):
            yield bytes([kind, 40, 90, channels, kind, channels]) + random.bytes(500)


def models() -> Iterator[bytes]:
    """Networks that together pass through the reader, the rewriting passes and the shape arithmetic."""
    rng = np.random.default_rng(0)

    def tensor(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)

    convolution = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "s", "b", "b", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["p"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", "axes"], ["row"]),
        helper.make_node("Concat", ["row", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["p", "target"], ["y"]),
    ]
    integers = [
        numpy_helper.from_array(np.array(0, np.int64), "zero"),
        numpy_helper.from_array(np.array([0], np.int64), "axes"),
        numpy_helper.from_array(np.array([-1], np.int64), "rest"),
    ]
    weights = [tensor("w", 4, 2, 3, 3), tensor("b", 4), tensor("s", 4)]
    variance = numpy_helper.from_array(np.ones(4, np.float32), "v")
    attention = [
        helper.make_node("MatMul", ["x", "q"], ["h"]),
        helper.make_node("Transpose", ["h"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["h", "t"], ["a"]),
        helper.make_node("Softmax", ["a"], ["m"], axis=-1),
        helper.make_node("Slice", ["m", "axes", "ends"], ["y"]),
    ]
    ends = numpy_helper.from_array(np.array([1], np.int64), "ends")
    for nodes, shape, constants in [
        (convolution, ["n", 2, "h", "w"], [*weights, variance, *integers]),
        (attention, [1, 3, 4], [tensor("q", 4, 4), integers[1], ends]),
    ]:
        graph = helper.make_graph(
            nodes,
            "seed",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            constants,
        )
        yield helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def small_network() -> bytes:
    """An ONNX file with whatever has an integer form of its own."""
    rng = np.random.default_rng(1)
    shapes = {"a": (16, 3, 3, 3), "b": (16, 1, 3, 3), "c": (16, 16, 1, 1), "d": (32, 8)}
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], pads=[1] * 4),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("Conv", ["q", "b"], ["r"], group=16, pads=[1] * 4),
        helper.make_node("HardSwish", ["r"], ["s"]),
        helper.make_node("Conv", ["s", "c"], ["t"]),
        helper.make_node("Add", ["t", "q"], ["u"]),
        helper.make_node("Concat", ["u", "q"], ["v"], axis=1),
        helper.make_node("GlobalAveragePool", ["v"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("MatMul", ["f", "d"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "seed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def _quantized(precision: str, folder: Path) -> vedette.Model:
    path = folder / "net.onnx"
    path.write_bytes(small_network())
    x = np.random.default_rng(2).normal(0, 1, (1, 3, 8, 8)).astype(np.float32)
    return vedette.quantize(path, [x], precision=precision, threads=1)


def recipes() -> Iterator[bytes]:
    """What makes that network one of integers."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = _quantized("fast", Path(folder)).recipe
        assert recipe is not None
        yield recipe.to_json().encode()


def saved_models() -> Iterator[bytes]:
    """That network in integers, with 4-bit weights and in float."""
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("fast", "int4", "float32"):
            yield _quantized(precision, Path(folder)).save(Path(folder) / "net.vedette").read_bytes()


def programs() -> Iterator[bytes]:
    """Programs as the compiler lowers them."""
    node = {"op": "Activation", "name": "n", "inputs": [0], "outputs": [1]}
    yield json.dumps(
        {
            "version": 1,
            "values": 3,
            "inputs": [{"value": 0, "name": "x", "dtype": "float32", "shape": [None, 3]}],
            "outputs": [{"value": 2, "name": "y"}],
            "constants": [],
            "nodes": [
                {**node, "attributes": {"activation": {"kind": "clip", "min": 0.0, "max": 6.0}}},
                {**node, "op": "Transpose", "inputs": [1], "outputs": [2], "attributes": {"perm": [1, 0]}},
            ],
        }
    ).encode()
