"""The face of models: loading, calling, and what callers can get wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_graphs import Net

import vedette as vd
from vedette.errors import InputError, InvalidModelError, ModelError, UnsupportedModelError

X = np.asarray([[-1, 2, -3], [4, -5, 6]], np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    net = Net()
    x, y = net.input("x", "n", 3), net.input("y", 3)
    model = net.model(net.op("Relu", net.op("Add", x, y)), net.op("Sub", x, y))
    model.metadata_props.add(key="author", value="nobody")
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.fixture
def single(tmp_path: Path) -> Path:
    net = Net()
    onnx.save(net.model(net.op("Relu", net.input("x", "n", 3))), tmp_path / "single.onnx")
    return tmp_path / "single.onnx"


@pytest.mark.parametrize("engine", ["native", "onnxruntime"])
def test_a_model_says_what_it_takes_and_gives(path: Path, engine: str) -> None:
    model = vd.load(path, engine=engine)
    assert [(port.name, port.dtype, port.shape) for port in model.inputs] == [
        ("x", "float32", ("n", 3)),
        ("y", "float32", (3,)),
    ]
    assert [port.dtype for port in model.outputs] == ["float32", "float32"]
    assert model.metadata == {"author": "nobody"}
    assert "x: float32 nx3" in repr(model)


@pytest.mark.parametrize("engine", ["native", "onnxruntime"])
def test_calls_by_position_and_by_name_agree(path: Path, engine: str) -> None:
    model = vd.load(path, engine=engine, threads=1)
    y = np.asarray([1, 1, 1], np.float32)
    total, difference = model(X, y)
    assert total.tolist() == [[0, 3, 0], [5, 0, 7]]
    named = model.run({"y": y, "x": X})
    assert list(named) == [port.name for port in model.outputs]
    np.testing.assert_array_equal(list(named.values())[1], difference)


def test_one_output_comes_alone(single: Path) -> None:
    result = vd.load(single)(X)
    assert isinstance(result, np.ndarray)
    assert result.tolist() == np.maximum(X, 0).tolist()


def test_arrays_of_any_strides_and_lists_are_read(single: Path) -> None:
    model = vd.load(single)
    for view in (
        np.asfortranarray(X),
        X[::-1, ::-1],
        np.broadcast_to(X[0], (4, 3)),
        np.repeat(X, 2, 1)[:, ::2],
    ):
        np.testing.assert_array_equal(model(view), np.maximum(view, 0))
    assert np.asarray(model([[1, -2, 3.5]])).tolist() == [[1, 0, 3.5]]
    assert np.asarray(model(X[:0])).shape == (0, 3)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((), "expected 1 inputs (x), got 0"),
        ((X, X), "expected 1 inputs (x), got 2"),
        ((X.astype(np.float64),), "dtype float64, expected float32"),
        ((X[0],), "shape (3,), expected ?x3"),
        ((X[:, :2],), "shape (2, 2), expected ?x3"),
        (("text",), "dtype"),
        (([["a", "b", "c"]],), "dtype"),
    ],
)
def test_wrong_inputs_are_named(single: Path, inputs: tuple[object, ...], said: str) -> None:
    model = vd.load(single)
    with pytest.raises(InputError) as raised:
        model(*inputs)  # type: ignore[arg-type]
    assert said in str(raised.value)


def test_wrong_names_are_named(path: Path) -> None:
    model = vd.load(path)
    with pytest.raises(InputError, match=r"no input is called 'z'; 'y' is missing; the inputs are 'x', 'y'"):
        model.run({"x": X, "z": X})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "int3"}, "'float32'"),
        ({"engine": "magic"}, "'onnxruntime'"),
        ({"threads": 0}, "at least 1"),
    ],
)
def test_options_that_do_not_exist_are_refused(single: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        vd.load(single, **options)  # type: ignore[arg-type]


def test_the_way_out_is_named(tmp_path: Path) -> None:
    net = Net()
    path = tmp_path / "det.onnx"
    onnx.save(net.model(net.op("Det", net.input("x", 2, 2))), path)
    with pytest.raises(UnsupportedModelError) as raised:
        vd.load(path)
    assert "Det 'n0'" in str(raised.value)
    assert f'vedette.load({str(path)!r}, engine="onnxruntime")' in str(raised.value)
    assert vd.load(path, engine="onnxruntime")(np.eye(2, dtype=np.float32)) == 1


@pytest.mark.parametrize("engine", ["native", "onnxruntime"])
def test_files_that_are_no_models_are_refused(tmp_path: Path, engine: str) -> None:
    with pytest.raises(InvalidModelError, match=r"missing\.onnx"):
        vd.load(tmp_path / "missing.onnx", engine=engine)
    (tmp_path / "bad.onnx").write_bytes(b"not a model at all")
    with pytest.raises(InvalidModelError, match=r"bad\.onnx"):
        vd.load(tmp_path / "bad.onnx", engine=engine)


def test_onnxruntime_that_is_not_installed_is_said_how_to_install(
    single: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"pip install 'vedette\[onnxruntime\]'"):
        vd.load(single, engine="onnxruntime")


def test_a_profile_names_every_node(single: Path) -> None:
    model = vd.load(single)
    for profile in (model.profile(X), model.profile({"x": X})):
        assert [entry.op for entry in profile.entries] == ["Activation"]
        assert profile.entries[0].shape == [2, 3]
        assert profile.microseconds == sum(profile.by_operator().values())
        assert profile.to_dict()["nodes"][0]["name"] == "n0"
        assert "Activation" in str(profile)


def test_inspection_shows_the_graph_before_and_after(path: Path) -> None:
    found = vd.model.inspect(path)
    text = str(found)
    assert "As read: 3 nodes" in text
    assert "Compiled: 3 nodes" in text
    assert "Relu(" in text
    assert "Activation(" in text
    facts = found.to_dict()
    assert [node["op"] for node in facts["before"]] == ["Add", "Relu", "Sub"]
    assert facts["metadata"] == {"author": "nobody"}
    assert facts["unsupported"] == []


def test_inspection_lists_what_the_engine_lacks(tmp_path: Path) -> None:
    net = Net()
    onnx.save(net.model(net.op("Det", net.input("x", 2, 2))), tmp_path / "det.onnx")
    assert vd.model.inspect(tmp_path / "det.onnx").unsupported == ["Det 'n0'"]


def test_outputs_that_are_inputs_constants_or_the_same(tmp_path: Path) -> None:
    net = Net()
    x = net.input("x", "n", 3)
    constant = net.constant([1.0, 2.0])
    same = net.op("Identity", x)
    folded = net.op("Neg", constant)
    onnx.save(net.model(x, constant, same, folded), tmp_path / "m.onnx")
    results = vd.load(tmp_path / "m.onnx")(X)
    assert [np.asarray(result).tolist() for result in results] == [X.tolist(), [1, 2], X.tolist(), [-1, -2]]


@pytest.mark.parametrize("operator", ["Conv", "MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    "attributes", [{"strides": [1]}, {"strides": [0, 1]}, {"strides": [-1, 1]}, {"pads": [1, 1, 1]}]
)
def test_windows_that_contradict_themselves_are_refused_by_name(
    tmp_path: Path, operator: str, attributes: dict[str, list[int]]
) -> None:
    net = Net()
    x = net.input("x", 1, 3, 8, 8)
    if operator == "Conv":
        y = net.op(operator, x, net.constant(np.ones((4, 3, 3, 3), np.float32)), **attributes)
    else:
        y = net.op(operator, x, kernel_shape=[3, 3], **attributes)
    onnx.save(net.model(y), tmp_path / "net.onnx")
    with pytest.raises(InvalidModelError, match=next(iter(attributes))):
        vd.load(tmp_path / "net.onnx")(np.ones((1, 3, 8, 8), np.float32))


def test_a_convolution_without_places_is_refused(tmp_path: Path) -> None:
    net = Net()
    y = net.op("Conv", net.input("x", 1, 3), net.constant(np.ones((4, 3), np.float32)))
    onnx.save(net.model(y), tmp_path / "net.onnx")
    with pytest.raises(ModelError):
        vd.load(tmp_path / "net.onnx")(np.ones((1, 3), np.float32))
