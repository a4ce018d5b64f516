"""Memory of large outputs is used again once nobody has it, and never before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx_graphs import Net

import vedette as vd

LARGE = np.arange(1 << 19, dtype=np.float32)


def negation(path: Path) -> vd.Model:
    net = Net()
    onnx.save(net.model(net.op("Neg", net.input("x", "n"))), path)
    return vd.load(path)


def test_the_memory_of_an_output_that_is_gone_is_used_again(tmp_path: Path) -> None:
    model = negation(tmp_path / "net.onnx")
    y = model(LARGE)
    place = y.ctypes.data
    del y
    again = model(LARGE + 1)
    assert again.ctypes.data == place
    np.testing.assert_array_equal(again, -(LARGE + 1))


def test_what_somebody_has_is_left_alone(tmp_path: Path) -> None:
    model = negation(tmp_path / "net.onnx")
    part = model(LARGE)[7:9]
    others = [model(LARGE + 1), model(LARGE + 2)]
    assert part.tolist() == [-7.0, -8.0]
    assert len({part.base.ctypes.data, *(other.ctypes.data for other in others)}) == 3


def test_outputs_of_other_shapes_and_models_that_are_gone(tmp_path: Path) -> None:
    model = negation(tmp_path / "net.onnx")
    model(LARGE)
    np.testing.assert_array_equal(model(LARGE[:-5]), -LARGE[:-5])
    y = model(LARGE)
    del model
    np.testing.assert_array_equal(y, -LARGE)
