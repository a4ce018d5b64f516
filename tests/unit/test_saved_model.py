"""Saved models: the same numbers from a file that is checked before it is believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_graphs import Net

import vedette as vd
from vedette.errors import InputError, InvalidModelError, ModelError, VedetteError

X = np.random.default_rng(5).normal(0, 1, (1, 3, 9, 7)).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    net = Net()
    y = net.op(
        "Conv", net.input("x", 1, 3, "h", "w"), net.weights(5, 3, 3, 3), net.weights(5), pads=[1, 1, 1, 1]
    )
    model = net.model(net.op("Mul", net.op("Relu", y), net.op("Add", y, net.weights(1, 1, 9, 7))))
    model.metadata_props.add(key="character", value="äöü")
    onnx.save(model, folder / "net.onnx")
    return vd.load(folder / "net.onnx").save(folder / "net.vedette")


def test_a_saved_model_gives_the_same(path: Path) -> None:
    original, saved = vd.load(path.with_suffix(".onnx")), vd.load(path)
    np.testing.assert_array_equal(original(X), saved(X))
    assert saved.inputs == original.inputs
    assert saved.outputs == original.outputs
    assert saved.metadata == {"character": "äöü"}


def test_a_saved_model_is_saved_again(path: Path, tmp_path: Path) -> None:
    again = vd.load(path).save(tmp_path / "again.vedette")
    assert again.read_bytes() == path.read_bytes()
    vd.load(again).save(again)
    assert again.read_bytes() == path.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["again.vedette"]


def test_onnx_is_not_needed(path: Path) -> None:
    program = "import sys; import vedette; vedette.load(sys.argv[1]); assert 'onnx' not in sys.modules"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)


def test_the_file_is_a_safetensors_file(path: Path) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert (8 + length) % 64 == 0
    del header["__metadata__"]
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(data) - 8 - length
    assert {entry["dtype"] for entry in header.values()} == {"F32"}


def test_what_cannot_be_saved_is_said(path: Path, tmp_path: Path) -> None:
    model = vd.load(path)
    with pytest.raises(InputError, match=r"\*\.vedette"):
        model.save(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="cannot write"):
        model.save(tmp_path / "missing" / "net.vedette")
    with pytest.raises(ModelError, match="native engine"):
        vd.load(path.with_suffix(".onnx"), engine="onnxruntime").save(tmp_path / "net.vedette")


Header = dict[str, Any]


def longer(header: Header) -> None:
    header["0"]["shape"][0] = 1 << 50


def negative(header: Header) -> None:
    header["0"]["shape"] = [-1, -1]


def beyond(header: Header) -> None:
    size = header["0"]["data_offsets"][1]
    header["0"]["data_offsets"] = [1 << 40, (1 << 40) + size]


def backwards(header: Header) -> None:
    header["0"]["data_offsets"].reverse()


def empty_but_endless(header: Header) -> None:
    header["0"] |= {"shape": [1 << 40, 0, 1 << 40], "data_offsets": [0, 0]}


def overlapping(header: Header) -> None:
    header["1"] = header["0"]


def mistyped(header: Header) -> None:
    header["0"]["dtype"] = "F31"


def renamed(header: Header) -> None:
    header["zero"] = header.pop("0")


def without_program(header: Header) -> None:
    del header["__metadata__"]["vedette.program"]


def of_the_future(header: Header) -> None:
    header["__metadata__"]["vedette.version"] = "2"


def without_ports(header: Header) -> None:
    header["__metadata__"]["vedette.ports"] = "[]"


def with_ports_of_no_type(header: Header) -> None:
    header["__metadata__"]["vedette.ports"] = header["__metadata__"]["vedette.ports"].replace("dtype", "type")


def with_strange_ports(header: Header) -> None:
    header["__metadata__"]["vedette.ports"] = '{"inputs": [3], "outputs": []}'


def with_a_strange_program(header: Header) -> None:
    header["__metadata__"]["vedette.program"] = "{}"


@pytest.mark.parametrize(
    "damage",
    [
        longer, negative, beyond, backwards, empty_but_endless, overlapping, mistyped, renamed,
        without_program, of_the_future, without_ports, with_strange_ports, with_ports_of_no_type,
        with_a_strange_program,
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused(path: Path, tmp_path: Path, damage: Callable[[Header], None]) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    damage(header)
    text = json.dumps(header).encode()
    bad = tmp_path / "bad.vedette"
    bad.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(InvalidModelError):
        vd.load(bad)


@pytest.mark.parametrize(
    "content", [None, b"", b"short", b"\xff" * 64, bytes(64), b"\x10" + bytes(7) + b"[" * 100]
)
def test_what_is_no_saved_model_is_refused(tmp_path: Path, content: bytes | None) -> None:
    bad = tmp_path / "bad.vedette"
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(InvalidModelError, match=r"bad\.vedette"):
        vd.load(bad)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
def test_damaged_files_load_or_are_refused(
    path: Path, tmp_path: Path, edits: list[tuple[int, bytes]]
) -> None:
    data = bytearray(path.read_bytes())
    for at, replacement in edits:
        at %= len(data)
        data[at : at + len(replacement)] = replacement
    (tmp_path / "damaged.vedette").write_bytes(data)
    with suppress(VedetteError):
        vd.load(tmp_path / "damaged.vedette")(X)


@pytest.fixture
def large(tmp_path: Path) -> vd.Model:
    """A saved model whose constants loading leaves in the file: one to be packed, one to be read."""
    net = Net()
    hidden = net.op("MatMul", net.input("x", 8, 64), net.weights(64, 1024))
    onnx.save(net.model(net.op("Mul", hidden, net.weights(8, 1024))), tmp_path / "net.onnx")
    return vd.load(vd.load(tmp_path / "net.onnx").save(tmp_path / "net.vedette"))


def test_large_constants_are_read_where_they_are_until_the_first_run(large: vd.Model, tmp_path: Path) -> None:
    x = np.random.default_rng(6).normal(0, 1, (8, 64)).astype(np.float32)
    expected = vd.load(tmp_path / "net.onnx")(x)
    (tmp_path / "net.vedette").rename(tmp_path / "elsewhere.vedette")
    np.testing.assert_array_equal(large(x), expected)
    os.truncate(tmp_path / "elsewhere.vedette", 64)
    np.testing.assert_array_equal(large(x), expected)


def test_a_file_shortened_before_the_first_run_is_an_error(large: vd.Model, tmp_path: Path) -> None:
    x = np.zeros((8, 64), np.float32)
    os.truncate(tmp_path / "net.vedette", 64)
    for run in (large, large.profile):
        with pytest.raises(InvalidModelError, match="shortened after it was loaded"):
            run(x)
