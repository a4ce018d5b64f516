"""From what was seen of the values of a model to the ranges that integers are laid over."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vedette.errors import InputError
from vedette.model.graph import Graph, Node
from vedette.model.integer.calibration import Calibration, Statistics
from vedette.model.integer.operators import activation_inputs, is_table, obstacle
from vedette.model.integer.tables import function_values
from vedette.model.passes.constants import Evaluate
from vedette.quantization.histogram import Histogram
from vedette.quantization.observers import (
    METHODS,
    Range,
    entropy_range,
    least_error_range,
    mse_range,
    percentile_range,
)
from vedette.quantization.parameters import Parameters


def choose_ranges(
    graph: Graph, calibration: Calibration, method: str, evaluate: Evaluate, percentile: float = 99.999
) -> dict[str, Range]:
    """A range for every value seen.

    The argument of a table, such as GELU's, gets the range with the least error of the table's result: where
    the function is flat, nothing is lost by clipping.
    """
    ranges = {name: _range(seen, method, percentile) for name, seen in calibration.statistics.items()}
    users: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            if name is not None:
                users.setdefault(name, []).append(node)
    for node in graph.nodes:
        inputs = activation_inputs(graph, node)
        if not is_table(graph, node) or obstacle(graph, node) is not None or len(inputs) != 1:
            continue
        (x,) = inputs
        seen = calibration.statistics.get(x)
        if seen is not None and users[x] == [node] and x not in graph.outputs and node.output in ranges:
            ranges[x] = _table_range(graph, node, x, seen.histogram, ranges[node.output], evaluate)
    return ranges


def _range(seen: Statistics, method: str, percentile: float) -> Range:
    histogram = seen.histogram
    match method:
        case "minmax":
            low, high = histogram.minimum, histogram.maximum
        case "moving_average":
            low, high = seen.average.range()
        case "mse":
            low, high = mse_range(histogram)
        case "percentile":
            low, high = percentile_range(histogram, percentile)
        case "entropy":
            low, high = entropy_range(histogram)
        case _:
            raise InputError(f"method {method!r} does not exist; there are {', '.join(map(repr, METHODS))}")
    return max(float(low), min(histogram.minimum, 0.0)), min(float(high), max(histogram.maximum, 0.0))


def _table_range(
    graph: Graph, node: Node, x: str, histogram: Histogram, outside: Range, evaluate: Evaluate
) -> Range:
    points, counts = histogram.occupied()
    exact = function_values(graph, node, x, points, evaluate).astype(np.float64)
    # The function between the levels of a range is read off this fine grid.
    grid = np.linspace(min(histogram.minimum, 0.0), max(histogram.maximum, 0.0), 8192)
    curve = np.nan_to_num(function_values(graph, node, x, grid, evaluate).astype(np.float64))
    target = Parameters.of_range(*outside)
    if not np.isfinite(exact).all():
        return histogram.minimum, histogram.maximum
    reached = target.dequantize(target.quantize(curve)).astype(np.float64)

    def error(low: float, high: float) -> float:
        inside = Parameters.of_range(low, high)
        total = 0.0
        # Two places within each step, since numbers fall anywhere in it.
        for shift in (-0.25, 0.25):
            level = inside.dequantize(inside.quantize(points + shift * inside.scale)).astype(np.float64)
            total += float(counts @ (np.interp(level, grid, reached) - exact) ** 2)
        return total

    return least_error_range(histogram.minimum, histogram.maximum, error)


def check_ranges(ranges: Mapping[str, Range]) -> None:
    """Raises InputError for ranges that are no ranges, as in a recipe written by hand."""
    for name, span in ranges.items():
        ok = len(span) == 2 and all(type(end) in (int, float) and abs(end) <= 1e38 for end in span)
        if not ok or span[0] > span[1]:
            raise InputError(
                f"the range of '{name}' is {list(span)}, expected two finite numbers, the lesser first"
            )
