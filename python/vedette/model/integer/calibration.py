"""What the values of a model reach on real inputs: seen one input at a time, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vedette.errors import InputError
from vedette.model.graph import Array, Graph
from vedette.model.integer.operators import WEIGHTED, activation_inputs
from vedette.model.native_engine import NativeEngine
from vedette.quantization.histogram import Histogram
from vedette.quantization.observers import MovingAverage

_BYTES_AT_ONCE = 192 << 20
Progress = Callable[[str, int, int], None]


class Channels:
    """Running statistics of each channel of a value: least, greatest, mean and mean square."""

    def __init__(self, count: int) -> None:
        self.minimum: NDArray[np.float64] = np.full(count, np.inf)
        self.maximum: NDArray[np.float64] = np.full(count, -np.inf)
        self._sum, self._squares, self._count = np.zeros(count), np.zeros(count), 0

    def update(self, x: Array, axis: int) -> None:
        """Takes an array into account."""
        rows = x.reshape(prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :]))
        self.minimum = np.minimum(self.minimum, rows.min((0, 2)))
        self.maximum = np.maximum(self.maximum, rows.max((0, 2)))
        self._sum += rows.sum((0, 2), dtype=np.float64)
        self._squares += np.einsum("acb,acb->c", rows, rows, dtype=np.float64)
        self._count += rows.shape[0] * rows.shape[2]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each channel."""
        return np.asarray(self._sum / max(self._count, 1))

    @property
    def mean_square(self) -> NDArray[np.float64]:
        """Mean square of each channel."""
        return np.asarray(self._squares / max(self._count, 1))


@dataclass(slots=True)
class Statistics:
    """What was seen of one value."""

    histogram: Histogram
    channels: Channels | None = None
    average: MovingAverage = field(default_factory=MovingAverage)


@dataclass(slots=True)
class Calibration:
    """Statistics of the float values of a graph by name, and how many inputs they come from."""

    statistics: dict[str, Statistics]
    inputs: int


def observed_values(graph: Graph) -> list[str]:
    """The float values that integers could stand for, in the order in which they are made."""
    names = dict.fromkeys(name for name in graph.inputs if graph.is_float32(name))
    for node in graph.nodes:
        names.update(dict.fromkeys(activation_inputs(graph, node)))
        names.update(dict.fromkeys(node.outputs))
    return [name for name in names if graph.is_float32(name)]


def calibrate(
    graph: Graph,
    inputs: Iterable[Sequence[Array]],
    threads: int = 0,
    progress: Progress | None = None,
    total: int = 0,
) -> Calibration:
    """Runs a float graph on inputs and gathers statistics of every value that integers could stand for.

    Raises
    ------
    InputError
        There are no inputs, or the model makes NaN or infinite values of one.
    """
    axes = _channel_axes(graph)
    statistics: dict[str, Statistics] = {}
    groups: list[tuple[list[str], NativeEngine]] = []
    count = 0
    for arrays in inputs:
        if not groups:
            groups = _groups(graph, arrays, threads)
        for names, engine in groups:
            for name, array in zip(names, engine.run(arrays), strict=True):
                _observe(statistics, name, array, axes.get(name))
        for name, array in zip(graph.inputs, arrays, strict=True):
            if graph.is_float32(name):
                _observe(statistics, name, np.asarray(array), axes.get(name))
        count += 1
        if progress is not None:
            progress("calibrate", count, max(total, count))
    if count == 0:
        raise InputError("calibration holds no inputs; give some that are like those the model will see")
    return Calibration(statistics, count)


def _observe(statistics: dict[str, Statistics], name: str, array: Array, axis: int | None) -> None:
    seen = statistics.setdefault(name, Statistics(Histogram()))
    try:
        seen.average.update_range(*seen.histogram.update(array))
    except InputError as error:
        raise InputError(f"calibration: value '{name}': {error}") from None
    if axis is None or array.ndim == 0 or array.size == 0:
        return
    axis %= array.ndim
    if seen.channels is None:
        seen.channels = Channels(array.shape[axis])
    if seen.channels.minimum.size == array.shape[axis]:
        seen.channels.update(array, axis)


def _channel_axes(graph: Graph) -> dict[str, int]:
    """Where the channels of values are that weighted nodes read and make."""
    axes: dict[str, int] = {}
    for node in graph.nodes:
        if node.op in WEIGHTED:
            axis = -1 if node.op == "MatMul" else 1
            for name in (*activation_inputs(graph, node), node.output):
                axes.setdefault(name, axis)
    return axes


def _groups(graph: Graph, arrays: Sequence[Array], threads: int) -> list[tuple[list[str], NativeEngine]]:
    """Parts of the graph that make so many of its values at a time that memory stays bounded."""
    wanted = [name for name in observed_values(graph) if name not in graph.inputs]
    sizes = _sizes(graph, arrays, threads)
    groups: list[list[str]] = [[]]
    held = 0
    for name in wanted:
        size = sizes.get(name, 0)
        if groups[-1] and held + size > _BYTES_AT_ONCE:
            groups.append([])
            held = 0
        groups[-1].append(name)
        held += size
    return [(names, NativeEngine.of(_part(graph, names), threads)) for names in groups if names]


def _sizes(graph: Graph, arrays: Sequence[Array], threads: int) -> dict[str, int]:
    _, entries = NativeEngine.of(graph, threads).profile(arrays)
    by_label = {entry["name"]: 4 * prod(entry["shape"]) for entry in entries}
    return {name: by_label.get(node.label, 0) for node in graph.nodes for name in node.outputs}


def _part(graph: Graph, outputs: Sequence[str]) -> Graph:
    """The nodes that these values depend on."""
    needed, nodes = set(outputs), []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            nodes.append(node)
            needed.update(name for name in node.inputs if name is not None)
    constants = {name: array for name, array in graph.constants.items() if name in needed}
    part: Any = graph.with_nodes(nodes[::-1])
    part.outputs, part.constants = tuple(outputs), constants
    return part  # type: ignore[no-any-return]
