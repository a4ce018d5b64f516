"""Whatever the bytes of an ONNX file are: it is read, or refused by one of our errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_graphs import Net

from vedette import _native
from vedette.errors import VedetteError
from vedette.model.native_engine import NativeEngine, compile_graph
from vedette.model.onnx_file import parse
from vedette.model.onnx_reader import read_proto


def convolutional() -> onnx.ModelProto:
    net = Net(opset=13)
    x = net.op("Conv", net.input("x", 1, 2, 5, 5), net.weights(4, 2, 3, 3), pads=[1, 1, 1, 1])
    x = net.op("BatchNormalization", x, *[net.constant([1.0, 2.0, 3.0, 4.0])] * 4)
    x = net.op("MaxPool", net.op("Clip", x, net.constant(0.0), net.constant(6.0)), kernel_shape=[2, 2])
    return net.model(net.op("Gemm", net.op("Flatten", x), net.weights(3, 64), net.weights(3), transB=1))


def shaped() -> onnx.ModelProto:
    net = Net(opset=11)
    x = net.input("x", "n", 6)
    part = net.op("Slice", net.op("Shape", x), net.integers(0), net.integers(1))
    y = net.op("Reshape", x, net.op("Concat", part, net.integers(2, -1), axis=0))
    filled = net.op("ConstantOfShape", net.integers(2, 3), value=helper.make_tensor("v", 1, [1], [2.0]))
    return net.model(
        net.op("Softmax", net.op("Add", net.op("Split", y, axis=1, outputs=2)[0], filled), axis=1)
    )


def functional() -> onnx.ModelProto:
    body = [helper.make_node("Add", ["a", "a"], ["t"]), helper.make_node("Elu", ["t"], ["b"])]
    function = helper.make_function("my", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 18)])
    net = Net(opset=18)
    x = net.op("Twice", net.input("x", 2, 3), domain="my")
    return net.model(
        net.op("MeanVarianceNormalization", net.op("Unsqueeze", x, net.integers(0, 1))), functions=[function]
    )


def four_bits() -> onnx.ModelProto:
    net = Net(opset=21)
    for name, kind, size in (("q", TensorProto.INT4, 64), ("z", TensorProto.INT4, 4)):
        packed = bytes(range(size // 2))
        net.initializers.append(helper.make_tensor(name, kind, [32 * size // 64, 2], packed, raw=True))
    w = net.op("DequantizeLinear", "q", net.constant(np.full((2, 2), 0.1)), "z", axis=0, block_size=16)
    return net.model(net.op("MatMul", net.input("x", 3, 32), w), ir_version=10)


MODELS: list[Callable[[], onnx.ModelProto]] = [convolutional, shaped, functional, four_bits]


@cache
def serialized(at: int) -> bytes:
    return MODELS[at]().SerializeToString()


Edit = tuple[int, int, bytes]


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(MODELS) - 1),
    st.lists(
        st.tuples(st.integers(0, 4000), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=4
    ),
)
def test_damaged_files_are_read_or_refused(model: int, edits: list[Edit]) -> None:
    data = serialized(model)
    for at, removed, inserted in edits:
        at %= len(data) + 1
        data = data[:at] + inserted + data[at + removed :]
    try:
        source = read_proto(parse(data, "damaged.onnx"), _native.supported_operators())
        graph = compile_graph(source.graph)
        engine = NativeEngine.of(graph, threads=1)
        inputs = [
            np.zeros([size if isinstance(size, int) else 1 for size in type_.shape or ()], type_.dtype)
            for type_ in map(graph.type_of, graph.inputs)
            if np.prod([size for size in type_.shape or () if isinstance(size, int)], dtype=float) < 1e5
        ]
        if len(inputs) == len(graph.inputs):
            engine.run(inputs)
    except VedetteError:
        pass
