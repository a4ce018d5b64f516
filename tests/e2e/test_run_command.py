"""``vedette run``, ``inspect`` and ``doctor`` as a user types them."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import Command
from onnx import TensorProto, helper
from PIL import Image


def write_model(path: Path, *, op: str = "Relu", shape: tuple[int | str, ...] = (1, 3, 8, 6)) -> Path:
    """A model y = op(x) + 1."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
    nodes = [helper.make_node(op, ["x"], ["t"], name="first"), helper.make_node("Add", ["t", "one"], ["y"])]
    graph = helper.make_graph(nodes, "tiny", ports[:1], ports[1:], [one])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.onnx")


def test_run_says_what_came_out(vedette: Command, model: Path) -> None:
    done = vedette("run", model)
    assert done.returncode == 0
    assert done.stderr == b""
    assert b"1x3x8x6" in done.stdout
    assert b"load " in done.stdout


def test_run_reads_and_writes_arrays(vedette: Command, model: Path, tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 144, dtype=np.float32).reshape(1, 3, 8, 6)
    np.save(tmp_path / "x.npy", x)
    done = vedette("run", model, "--input", "x=x.npy", "--output", "y.npz", "--json", cwd=tmp_path)
    assert done.returncode == 0
    facts = json.loads(done.stdout)
    assert facts["outputs"]["y"]["shape"] == [1, 3, 8, 6]
    assert facts["outputs"]["y"]["min"] == 1
    with np.load(tmp_path / "y.npz") as written:
        np.testing.assert_array_equal(written["y"], np.maximum(x, 0) + 1)


def test_run_takes_images(vedette: Command, model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (60, 80), (255, 0, 51)).save(tmp_path / "photo.png")
    done = vedette("run", model, "--input", tmp_path / "photo.png", "--json")
    output = json.loads(done.stdout)["outputs"]["y"]
    assert (output["min"], output["max"]) == (1, 2)


def test_run_profiles_and_repeats(vedette: Command, model: Path) -> None:
    done = vedette("run", model, "--profile", "--repeat", "5", "--threads", "1")
    assert b"5 times: first" in done.stdout
    assert b"operator" in done.stdout
    profile = json.loads(vedette("run", model, "--profile", "--json").stdout)["profile"]
    assert profile["nodes"]


def test_run_wants_a_shape_where_it_is_free(vedette: Command, tmp_path: Path) -> None:
    model = write_model(tmp_path / "free.onnx", shape=(1, 3, "height", "width"))
    done = vedette("run", model)
    assert done.returncode == 1
    assert b"--input x=random:1x3x640x640" in done.stderr
    assert vedette("run", model, "--input", "x=random:1x3x5x7").returncode == 0
    assert vedette("run", model, "--input", "random:1x3x5x7").returncode == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("z=random", "--input z=random: the inputs are x"),
        ("x=random:1xAx2", "'1xAx2' is no shape"),
        ("x=random:1x3x8x7", "shape"),
        ("x=random:99999x99999x99999", "elements"),
        ("x=missing.npy", "missing.npy: No such file or directory"),
        ("x=missing.png", "missing.png"),
        ("x=wrong.npy", "wrong.npy"),
        ("x=double.npy", "float64"),
    ],
)
def test_inputs_that_do_not_fit(
    vedette: Command, model: Path, tmp_path: Path, source: str, message: str
) -> None:
    (tmp_path / "wrong.npy").write_bytes(b"not an array")
    np.save(tmp_path / "double.npy", np.zeros((1, 3, 8, 6)))
    done = vedette("run", model, "--input", source, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == b""
    assert message in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("command", ["run", "inspect"])
@pytest.mark.parametrize("content", [None, b"", b"not a model", "truncated"])
def test_a_file_that_is_no_model(
    vedette: Command, model: Path, tmp_path: Path, command: str, content: bytes | str | None
) -> None:
    bad = tmp_path / "bad.onnx"
    if content is not None:
        bad.write_bytes(model.read_bytes()[:60] if isinstance(content, str) else content)
    done = vedette(command, bad)
    assert done.returncode == 1
    assert done.stdout == b""
    assert done.stderr.startswith(b"vedette: error: ")
    assert b"bad.onnx" in done.stderr


def test_unknown_operators_are_named(vedette: Command, tmp_path: Path) -> None:
    model = write_model(tmp_path / "strange.onnx", op="Det", shape=(4, 4))
    done = vedette("run", model)
    assert done.returncode == 1
    assert b"Det 'first'" in done.stderr
    assert f"vedette: hint: vedette run --engine onnxruntime {model}" in done.stderr.decode()
    assert vedette("run", model, "--engine", "onnxruntime").returncode == 0


def test_inspect(vedette: Command, model: Path) -> None:
    done = vedette("inspect", model)
    assert done.returncode == 0
    assert b"Relu" in done.stdout
    assert b"Compiled" in done.stdout
    facts = json.loads(vedette("inspect", model, "--json").stdout)
    assert [node["op"] for node in facts["before"]] == ["Relu", "Add"]
    assert [node["op"] for node in facts["after"]] == ["Activation", "Add"]


def test_doctor(vedette: Command) -> None:
    done = vedette("doctor", VEDETTE_ISA="scalar", VEDETTE_THREADS="1")
    assert done.returncode == 0
    assert b"level in use:      scalar" in done.stdout
    facts = json.loads(vedette("doctor", "--json").stdout)
    assert set(facts) == {"versions", "cpu", "memory", "models"}
    assert facts["cpu"]["threads"] >= 1
