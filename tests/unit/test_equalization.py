"""Channels scaled before rounding: the same function, and less noise where a few channels stand out."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_graphs import Net, assert_same_meaning, evaluate

from vedette.model import native_engine
from vedette.model.graph import Array, Graph
from vedette.model.integer.calibration import calibrate
from vedette.model.integer.equalization import equalize, find_scales
from vedette.model.integer.quantizer import default_precisions, lower_to_integers, prepare
from vedette.model.integer.ranges import choose_ranges
from vedette.model.integer.recipe import Recipe
from vedette.model.integer.smoothing import find_smoothing
from vedette.quantization import sqnr

RANDOM = np.random.default_rng(4)


def compiled(net: Net, output: str) -> Graph:
    return prepare(native_engine.compile_graph(net.graph(output)))


def in_integers(graph: Graph, x: Array) -> float:
    """Signal to noise of a graph in integers, its ranges all that was seen."""
    seen = calibrate(graph, [[x]], threads=1)
    recipe = Recipe("", choose_ranges(graph, seen, "minmax", native_engine.evaluate), {})
    made = lower_to_integers(graph, recipe, default_precisions(graph), native_engine.evaluate)
    (expected,), (actual,) = evaluate(graph, {"x": x}).values(), evaluate(made, {"x": x}).values()
    return sqnr(expected, actual)


def normalised(outlier: float) -> Graph:
    """Two products of what a layer normalisation makes, whose channel 5 reaches so many times as far."""
    net = Net(seed=7)
    factors = np.ones(64)
    factors[5] = outlier
    x = net.op(
        "LayerNormalization", net.input("x", "n", 64), net.constant(factors), net.constant(np.zeros(64))
    )
    halves = [net.op("MatMul", x, net.constant(net.random.normal(0, 0.1, (64, 24)))) for _ in range(2)]
    return compiled(net, net.op("Mul", net.op("Tanh", halves[0]), halves[1]))


def test_outliers_of_normalised_rows_are_smoothed() -> None:
    graph, x = normalised(40.0), RANDOM.normal(0, 1, (32, 64)).astype(np.float32)
    scales = find_smoothing(graph, calibrate(graph, [[x]], threads=1), 0.5)
    assert len(scales) == 1
    smoothed = equalize(graph, scales)
    assert_same_meaning(graph, smoothed, {"x": (8, 64)})
    # The outlier takes all but a few of the steps of a row; afterwards it takes an eighth of them.
    assert in_integers(smoothed, x) > in_integers(graph, x) + 6


def test_rows_without_outliers_stay_as_they_are() -> None:
    graph, x = normalised(1.0), RANDOM.normal(0, 1, (32, 64)).astype(np.float32)
    assert find_smoothing(graph, calibrate(graph, [[x]], threads=1), 0.5) == {}


def test_what_others_read_too_is_not_smoothed() -> None:
    net = Net(seed=7)
    factors = np.ones(64)
    factors[5] = 40
    x = net.op(
        "LayerNormalization", net.input("x", "n", 64), net.constant(factors), net.constant(np.zeros(64))
    )
    y = net.op("MatMul", x, net.constant(net.random.normal(0, 0.1, (64, 64))))
    graph = compiled(net, net.op("Add", x, y))
    x = RANDOM.normal(0, 1, (32, 64)).astype(np.float32)
    assert find_smoothing(graph, calibrate(graph, [[x]], threads=1), 0.5) == {}


@pytest.mark.parametrize("residual", [False, True])
def test_channels_of_convolutions_are_made_alike(residual: bool) -> None:
    net = Net(seed=3)
    x = net.op("Relu", net.op("Conv", net.input("x", 1, 3, 10, 10), net.weights(16, 3, 3, 3), pads=[1] * 4))
    # The same function with channels that differ a hundredfold.
    uneven = np.geomspace(0.1, 10, 16).reshape(1, 16, 1, 1)
    w = net.random.normal(0, 0.1, (16, 16, 3, 3))
    y = net.op("Conv", x, net.constant(w * uneven.reshape(16, 1, 1, 1)), pads=[1] * 4)
    y = net.op("Add", y, x) if residual else y
    z = net.constant(net.random.normal(0, 0.1, (8, 16, 1, 1)) / uneven)
    graph = compiled(net, net.op("Conv", net.op("Relu", y), z))
    x = RANDOM.normal(0, 1, (1, 3, 10, 10)).astype(np.float32)
    equalized = equalize(graph, find_scales(graph, calibrate(graph, [[x]], threads=1), 0.5))
    assert_same_meaning(graph, equalized, {"x": (1, 3, 10, 10)}, rtol=1e-4)
    assert in_integers(equalized, x) > in_integers(graph, x) + 3
