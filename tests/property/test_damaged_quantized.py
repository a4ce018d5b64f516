"""Programs in the integer form with wrong attributes and constants: an error at most, never a crash."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_graphs import Net

import vedette as vd
from vedette.errors import NativeError, VedetteError
from vedette.model import saved

X = np.random.default_rng(0).normal(0, 1, (1, 3, 8, 8)).astype(np.float32)

NUMBERS = st.one_of(
    st.integers(-5, 300),
    st.sampled_from([0.0, -1.0, 1e-45, 1e38, 1e300, 2**40, -(2**40), None, "x", [], [1] * 9]),
)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    net = Net(seed=6)
    x = net.op("Relu", net.op("Conv", net.input("x", 1, 3, 8, 8), net.weights(8, 3, 3, 3), pads=[1] * 4))
    y = net.op("HardSwish", net.op("Conv", x, net.weights(8, 1, 3, 3), group=8, pads=[1] * 4))
    y = net.op("Add", net.op("Conv", y, net.weights(8, 8, 1, 1)), x)
    y = net.op("Concat", y, net.op("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4), axis=1)
    y = net.op("Flatten", net.op("GlobalAveragePool", net.op("Conv", y, net.weights(8, 16, 3, 3))))
    onnx.save(net.model(net.op("MatMul", y, net.weights(8, 4))), folder / "net.onnx")
    return vd.quantize(folder / "net.onnx", [X], precision="fast").save(folder / "net.vedette")


def run(path: Path) -> None:
    try:
        vd.load(path, threads=1)(X)
    except NativeError:
        raise
    except VedetteError:
        pass


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_attributes_and_wires(quantised: Path, data: st.DataObject) -> None:
    model = saved.read(quantised)
    program: dict[str, Any] = json.loads(model.program)
    node = data.draw(st.sampled_from([node for node in program["nodes"] if "uanti" in node["op"]]))
    kind = data.draw(st.sampled_from(["attribute", "remove", "input"]))
    if kind == "input":
        at = data.draw(st.integers(0, len(node["inputs"]) - 1))
        node["inputs"][at] = data.draw(st.integers(0, program["values"] - 1))
    elif node["attributes"]:
        name = data.draw(st.sampled_from(sorted(node["attributes"])))
        if kind == "remove":
            del node["attributes"][name]
        else:
            node["attributes"][name] = data.draw(NUMBERS)
    path = quantised.with_name("changed.vedette")
    changed = saved.SavedModel(
        json.dumps(program), model.constants, model.inputs, model.outputs, model.metadata
    )
    saved.write(path, changed)
    run(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_constants(quantised: Path, data: st.DataObject) -> None:
    model = saved.read(quantised)
    constants = list(model.constants)
    at = data.draw(st.integers(0, len(constants) - 1))
    array = constants[at]
    match data.draw(st.sampled_from(["cut", "type", "turn", "values", "none"])):
        case "cut":
            constants[at] = array.reshape(-1)[: data.draw(st.integers(0, array.size))]
        case "type":
            constants[at] = array.astype(data.draw(st.sampled_from(["uint8", "int8", "float32", "int64"])))
        case "turn":
            constants[at] = array.T
        case "values":
            extremes = np.iinfo(array.dtype) if array.dtype.kind in "iu" else None
            bad = [np.nan, np.inf, 1e38] if extremes is None else [extremes.min, extremes.max]
            constants[at] = np.full(array.shape, data.draw(st.sampled_from(bad)), array.dtype)
        case _:
            constants[at] = array[None, None]
    path = quantised.with_name("constants.vedette")
    with suppress(ValueError, OverflowError):
        saved.write(
            path, saved.SavedModel(model.program, constants, model.inputs, model.outputs, model.metadata)
        )
        run(path)
