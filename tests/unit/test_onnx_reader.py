"""Reading ONNX: what is sound is brought to one form, and what is not is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import EVERY_OPERATOR, Net, evaluate, operators

from vedette.errors import InvalidModelError, UnsupportedModelError
from vedette.model.graph import Graph
from vedette.model.onnx_reader import read, read_proto
from vedette.model.passes import normalize


def read_model(model: onnx.ModelProto, folder: Path | None = None) -> Graph:
    return read_proto(model, EVERY_OPERATOR, folder).graph


def small() -> onnx.ModelProto:
    net = Net()
    return net.model(net.op("Add", net.op("Relu", net.input("x", 2, 3)), net.constant([1, 2, 3])))


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    model = small()
    model.metadata_props.add(key="character", value="abc")
    source = read(save(model, tmp_path / "m.onnx"), EVERY_OPERATOR)
    assert operators(source.graph) == ["Relu", "Add"]
    assert source.metadata == {"character": "abc"}
    assert source.graph.type_of("x").shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read"),
        (b"", "empty"),
        (b"hello world" * 9, "not an ONNX model"),
        (b"\x08\x07", "no graph"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidModelError, match=said):
        read(path, EVERY_OPERATOR)


def test_every_truncation_is_refused_or_read(tmp_path: Path) -> None:
    data = small().SerializeToString()
    path = tmp_path / "m.onnx"
    refused = 0
    for end in range(len(data)):
        path.write_bytes(data[:end])
        try:
            read(path, EVERY_OPERATOR)
        except (InvalidModelError, UnsupportedModelError):
            refused += 1
    # Only the opset, which comes last, can be missing without contradiction, and then there is none.
    assert refused == len(data)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="not a file"):
        read(tmp_path, EVERY_OPERATOR)


def cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = model.graph.node[1].output[0]


def undefined(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "nowhere"


def made_twice(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = model.graph.node[0].output[0]


def shadowed_input(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = "x"


def no_such_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nowhere"


def no_outputs(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


def duplicate_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def duplicate_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(model.graph.input[0])


def lying_shape(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [1 << 40, 1 << 20]


def lying_size(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [1 << 40]


def empty_but_endless(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [1 << 40, 0, 1 << 40]
    model.graph.initializer[0].raw_data = b""


def too_many_axes(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [1] * 70 + [3]


def short_data(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = b"\0" * 11


def short_list(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].float_data.extend([1.0, 2.0])


def negative_dimension(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [-1, -3]


def too_many_inputs(model: onnx.ModelProto) -> None:
    model.graph.node[0].input.append("x")


def missing_input(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = ""


def unknown_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("colour", 3))


def mistyped_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "LeakyRelu"
    model.graph.node[0].attribute.append(helper.make_attribute("alpha", "red"))


def missing_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Cast"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cycle, "cycle"),
        (undefined, "'nowhere', which nothing makes"),
        (made_twice, "made twice"),
        (shadowed_input, "made twice"),
        (no_such_output, "nothing makes the output"),
        (no_outputs, "no outputs"),
        (duplicate_initializer, "two initializers"),
        (duplicate_input, "two inputs"),
        (lying_shape, "no array can have"),
        (lying_size, "12 bytes"),
        (empty_but_endless, "no array can have"),
        (too_many_axes, "no array can have"),
        (short_data, "11 bytes"),
        (short_list, "2 elements"),
        (negative_dimension, "negative"),
        (too_many_inputs, "2 inputs"),
        (missing_input, "lacks its input"),
        (unknown_attribute, "'colour'"),
        (mistyped_attribute, "wrong type"),
        (missing_attribute, "lacks the attribute 'to'"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(
    damage: Callable[[onnx.ModelProto], None], said: str
) -> None:
    model = small()
    damage(model)
    with pytest.raises(InvalidModelError, match=said):
        read_model(model)


def test_nodes_in_any_order_are_sorted() -> None:
    model = small()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert operators(read_model(model)) == ["Relu", "Add"]


def test_what_is_not_supported_is_named() -> None:
    net = Net()
    x = net.op("Relu", net.input("x", 3))
    for kind in ("Hamlet", "Ophelia"):
        x = net.op(kind, x)
    with pytest.raises(UnsupportedModelError, match=r"Hamlet 'n1', Ophelia 'n2'"):
        read_model(net.model(x))


def test_other_domains_are_named() -> None:
    net = Net()
    model = net.model(net.op("FusedThing", net.input("x", 3), domain="com.example"))
    with pytest.raises(UnsupportedModelError, match=r"com\.example::FusedThing 'n0'"):
        read_model(model)


def test_subgraphs_are_named() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "b", [], [onnx.ValueInfoProto(name="y")]
    )
    net = Net()
    net.input("x", 3)
    y = net.op("If", net.constant(True, np.bool_), then_branch=body, else_branch=body)
    with pytest.raises(UnsupportedModelError, match="If 'n0' contains a subgraph"):
        read_model(net.model(y))


@pytest.mark.parametrize("opset", [1000, 5])
def test_opsets_beyond_the_known_are_refused(opset: int) -> None:
    net = Net(opset=opset)
    model = net.model(net.op("Abs", net.input("x", 3)))
    with pytest.raises(UnsupportedModelError, match=str(opset)):
        read_model(model)


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.FLOAT8E4M3FN])
def test_element_types_of_no_engine_are_named(kind: int) -> None:
    net = Net()
    with pytest.raises(UnsupportedModelError, match=TensorProto.DataType.Name(kind).lower()):
        read_model(net.model(net.op("Identity", net.input("x", 3, dtype=kind))))


def external(location: str, offset: int = 0, length: int = 12) -> onnx.ModelProto:
    model = small()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return model


def test_external_data_is_read_from_the_folder_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "data.bin").write_bytes(b"skip" + np.asarray([4, 5, 6], "<f4").tobytes())
    path = save(external("w/data.bin", offset=4), tmp_path / "m.onnx")
    graph = read(path, EVERY_OPERATOR).graph
    assert graph.constants[graph.nodes[1].inputs[1]].tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "", "w/../../secret", "link", "missing", "."]
)
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(b"\0" * 12)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidModelError, match=r"outside the folder|not a file"):
        read(save(external(location), folder / "m.onnx"), EVERY_OPERATOR)


@pytest.mark.parametrize(("offset", "length"), [(0, 8), (4, 12), (-1, 12), (1 << 60, 12), (0, 1 << 60)])
def test_external_data_that_is_not_there_is_refused(tmp_path: Path, offset: int, length: int) -> None:
    (tmp_path / "data.bin").write_bytes(b"\0" * 12)
    path = save(external("data.bin", offset, length), tmp_path / "m.onnx")
    with pytest.raises(InvalidModelError, match="needs 12 bytes"):
        read(path, EVERY_OPERATOR)


def test_tensors_are_read_from_typed_lists() -> None:
    for dtype in (
        "float32",
        "float64",
        "float16",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "bool",
    ):
        array = np.asarray([1, 0, 3]).astype(dtype)
        element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        values = (array.view(np.uint16) if dtype == "float16" else array * 1).tolist()
        tensor = TensorProto(name="c", dims=[3], data_type=element)
        field = {
            "float64": "double_data",
            "float32": "float_data",
            "int64": "int64_data",
            "uint32": "uint64_data",
        }
        getattr(tensor, field.get(dtype, "int32_data")).extend(values)
        net = Net()
        net.initializers.append(tensor)
        graph = read_model(net.model(net.op("Identity", "c")))
        assert graph.constants["c"].dtype == dtype
        assert graph.constants["c"].tolist() == array.tolist()


def test_constant_nodes_are_constants() -> None:
    net = Net()
    outputs = [
        net.op("Constant", value=numpy_helper.from_array(np.asarray([1.5], np.float32))),
        net.op("Constant", value_float=2.5),
        net.op("Constant", value_ints=[3, 4]),
    ]
    graph = read_model(net.model(*outputs))
    assert [graph.constants[name].tolist() for name in outputs] == [[1.5], 2.5, [3, 4]]


def test_model_functions_are_expanded_with_their_attributes() -> None:
    body = [
        helper.make_node("LeakyRelu", ["a"], ["t"]),
        helper.make_node("Add", ["t", "b"], ["c"]),
    ]
    body[0].attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    function = helper.make_function(
        "my", "Leak", ["a", "b"], ["c"], body, [helper.make_opsetid("", 17)], attributes=["slope"]
    )
    net = Net()
    x = net.input("x", 3)
    y = net.op("Leak", net.op("Leak", x, x, domain="my", slope=0.5), x, domain="my", slope=0.25)
    model = net.model(y, functions=[function])
    graph = read_model(model)
    assert operators(graph) == ["LeakyRelu", "Add", "LeakyRelu", "Add"]
    assert [node.attributes.get("alpha") for node in graph.nodes] == [0.5, None, 0.25, None]
    assert evaluate(graph, {"x": np.asarray([-1, 2, 0], np.float32)})[y].tolist() == [-1.375, 6, 0]


def test_functions_that_call_themselves_are_refused() -> None:
    function = helper.make_function(
        "my",
        "Self",
        ["a"],
        ["b"],
        [helper.make_node("Self", ["a"], ["b"], domain="my")],
        [helper.make_opsetid("", 17)],
    )
    net = Net()
    model = net.model(net.op("Self", net.input("x", 3), domain="my"), functions=[function])
    with pytest.raises(InvalidModelError, match="deep"):
        read_model(model)


def test_operators_with_a_definition_are_expanded() -> None:
    net = Net(opset=18)
    graph = net.model(net.op("MeanVarianceNormalization", net.input("x", 1, 2, 3, 3)))
    without = EVERY_OPERATOR - {"MeanVarianceNormalization"}
    expanded = read_proto(graph, without).graph
    assert "MeanVarianceNormalization" not in operators(expanded)
    assert len(expanded.nodes) > 3


X = np.random.default_rng(3).normal(0, 2, (2, 3, 4)).astype(np.float32)

OLD_FORMS: dict[str, tuple[int, Callable[[Net, str], str], Callable[[], np.ndarray]]] = {
    "add by axis": (
        6,
        lambda net, x: net.op("Add", x, net.constant([1, 2, 3]), broadcast=1, axis=1),
        lambda: X + np.asarray([1, 2, 3], np.float32)[:, None],
    ),
    "clip": (6, lambda net, x: net.op("Clip", x, min=-1.0, max=0.5), lambda: np.clip(X, -1, 0.5)),
    "clip without bounds": (10, lambda net, x: net.op("Clip", x), lambda: X),
    "pad": (
        2 + 8,
        lambda net, x: net.op("Pad", x, pads=[0, 0, 1, 0, 0, 2], value=7.0),
        lambda: np.pad(X, ((0, 0), (0, 0), (1, 2)), constant_values=7),
    ),
    "slice": (9, lambda net, x: net.op("Slice", x, starts=[1], ends=[3], axes=[2]), lambda: X[:, :, 1:3]),
    "squeeze": (
        12,
        lambda net, x: net.op("Squeeze", net.op("Unsqueeze", x, axes=[0, 2]), axes=[0]),
        lambda: X[:, None],
    ),
    "reduce": (12, lambda net, x: net.op("ReduceSum", x, axes=[1], keepdims=0), lambda: X.sum(1)),
    "reduce mean": (17, lambda net, x: net.op("ReduceMean", x, axes=[-1]), lambda: X.mean(-1, keepdims=True)),
    "split": (12, lambda net, x: net.op("Split", x, split=[1, 3], axis=2, outputs=2)[1], lambda: X[:, :, 1:]),
    "split equally": (12, lambda net, x: net.op("Split", x, axis=2, outputs=2)[1], lambda: X[:, :, 2:]),
    "top k": (
        9,
        lambda net, x: net.op("TopK", x, k=2, axis=-1, outputs=2)[0],
        lambda: -np.sort(-X)[:, :, :2],
    ),
    "dropout": (7, lambda net, x: net.op("Dropout", x, ratio=0.7), lambda: X),
    "dropout mask": (
        12,
        lambda net, x: net.op("Dropout", x, outputs=2)[1],
        lambda: np.ones(X.shape, np.bool_),
    ),
    "sum": (8, lambda net, x: net.op("Sum", x, x, x), lambda: X + X + X),
    "sum of one": (8, lambda net, x: net.op("Sum", x), lambda: X),
    "mean": (8, lambda net, x: net.op("Mean", x, net.constant(1.0)), lambda: (X + 1) / 2),
    "maximum": (
        8,
        lambda net, x: net.op("Max", x, net.constant(0.0), net.constant(0.5)),
        lambda: np.maximum(X, 0.5),
    ),
    "filled": (
        9,
        lambda net, x: net.op("ConstantOfShape", net.op("Shape", x)),
        lambda: np.zeros(X.shape, np.float32),
    ),
}


@pytest.mark.parametrize("case", OLD_FORMS)
def test_old_forms_become_the_newest(case: str) -> None:
    opset, build, expected = OLD_FORMS[case]
    net = Net(opset=opset)
    y = build(net, net.input("x", *X.shape))
    result = evaluate(read_model(net.model(y)), {"x": X})[y]
    np.testing.assert_allclose(result, expected(), rtol=1e-6)
    assert result.dtype == expected().dtype


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("rank_known", [True, False])
def test_old_softmax_takes_the_dimensions_from_its_axis_on_as_one(
    kind: str, axis: int, rank_known: bool
) -> None:
    net = Net(opset=11)
    x = net.input("x", *X.shape) if rank_known else net.input("x")
    if not rank_known:
        net.inputs[0].type.tensor_type.ClearField("shape")
    y = net.op(kind, x, axis=axis)
    rows = X.reshape(int(np.prod(X.shape[: axis % 3])), -1)
    e = np.exp(rows - rows.max(1, keepdims=True))
    expected = (e / e.sum(1, keepdims=True)).reshape(X.shape)
    result = evaluate(normalize(read_model(net.model(y))), {"x": X})[y]
    np.testing.assert_allclose(np.exp(result) if kind == "LogSoftmax" else result, expected, rtol=1e-5)


def test_training_is_refused() -> None:
    net = Net(opset=15)
    x = net.input("x", 2, 3, 4, 4)
    y = net.op("BatchNormalization", x, *[net.weights(3)] * 4, outputs=3, training_mode=1)
    with pytest.raises(UnsupportedModelError, match="training"):
        read_model(net.model(y[0]))
