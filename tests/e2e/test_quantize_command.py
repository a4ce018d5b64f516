"""``vedette quantize`` as a user types it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import Command
from onnx_graphs import Net


@pytest.fixture
def model(tmp_path: Path) -> Path:
    net = Net(seed=1)
    x = net.op("Relu", net.op("Conv", net.input("x", 1, 3, 8, 8), net.weights(6, 3, 3, 3), net.weights(6)))
    onnx.save(net.model(net.op("Conv", x, net.weights(4, 6, 1, 1))), tmp_path / "net.onnx")
    (tmp_path / "samples").mkdir()
    for at in range(3):
        x = np.random.default_rng(at).normal(0, 1, (1, 3, 8, 8)).astype(np.float32)
        np.save(tmp_path / "samples" / f"{at}.npy", x)
    return tmp_path / "net.onnx"


def test_from_samples_to_files(vedette: Command, model: Path, tmp_path: Path) -> None:
    out, recipe, chart = (tmp_path / name for name in ("net.vedette", "net.json", "net.svg"))
    done = vedette(
        "quantize", model, "--calibrate", tmp_path / "samples", "-o", out, "--recipe", recipe,
        "--chart", chart, "--precision", "fast",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert text.count("int8") == 2
    assert "calibrated with 3 inputs" in text
    assert b"vedette: calibrate" in done.stderr
    assert json.loads(recipe.read_text())["version"] == 1
    assert chart.read_text().startswith("<svg")
    run = vedette("run", out, "--profile")
    assert run.returncode == 0, run.stderr
    assert b"QuantizedConv" in run.stdout


def test_json(vedette: Command, model: Path, tmp_path: Path) -> None:
    done = vedette("quantize", model, "--calibrate", tmp_path / "samples", "--json")
    report = json.loads(done.stdout)
    assert [node["op"] for node in report["nodes"]] == ["Conv", "Conv"]
    assert report["inputs"] == 3


def test_what_is_wrong_is_said(vedette: Command, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, message in (("missing", b"no such folder"), ("empty", b"holds no .npy")):
        done = vedette("quantize", model, "--calibrate", tmp_path / folder)
        assert done.returncode == 1
        assert message in done.stderr
    np.save(tmp_path / "samples" / "bad.npy", np.full((1, 3, 8, 8), np.nan, np.float32))
    done = vedette("quantize", model, "--calibrate", tmp_path / "samples")
    assert done.returncode == 1
    assert b"NaN" in done.stderr
    assert vedette("quantize", model).returncode == 2
    assert vedette("quantize", model, "--calibrate", tmp_path, "--tolerance", "7").returncode == 2
