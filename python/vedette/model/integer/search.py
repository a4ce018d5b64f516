"""Which nodes may be in integers: errors and times are measured, what pays within the tolerance stays."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vedette.model.graph import Array, Graph, Node
from vedette.model.integer.quantizer import default_precisions, in_float, lower_to_integers
from vedette.model.integer.recipe import Recipe
from vedette.model.native_engine import NativeEngine, evaluate
from vedette.model.passes.dead_code import remove_dead_code
from vedette.quantization.observers import Range

Progress = Callable[[str, int, int], None]

_REPEATS = 3
_SECONDS = 0.05
"""How long a graph is run to find its least times, and how often at least."""

_WORTH = 1.05
"""Nodes are slower in integers where they take so many times as long, which the clock can tell."""

_KEEPS_ORDER = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Transpose"})


@dataclass(slots=True)
class Measured:
    """A graph that was run: its outputs by sample, the least microseconds of nodes and of one run."""

    outputs: list[list[Array]]
    nodes: dict[str, float]
    total: float


class Search:
    """Runs a model in different precisions on a few samples, and compares it with itself in float32."""

    def __init__(
        self,
        prepared: Graph,
        recipe: Recipe,
        samples: Sequence[Sequence[Array]],
        threads: int,
    ) -> None:
        self.prepared, self.recipe, self.samples = _with_logits(prepared), recipe, samples
        self.threads = threads
        self.default = default_precisions(self.prepared)
        self.original = self.measure(in_float(self.prepared, {}))
        self.alone: dict[str, float] = {}
        self.slower: dict[str, tuple[float, float]] = {}

    def graph(self, precisions: Mapping[str, str], prepared: Graph | None = None) -> Graph:
        """The model with these precisions; of the graph that is compared, or of the whole one."""
        prepared = prepared or self.prepared
        if all(kind in ("float32", "bfloat16") for kind in precisions.values()):
            return in_float(prepared, precisions)
        return lower_to_integers(prepared, self.recipe, precisions, evaluate)

    def measure(self, graph: Graph) -> Measured:
        """Runs a graph on every sample; times are the least of a few runs of the first."""
        engine = NativeEngine.of(graph, self.threads)
        outputs = [engine.run(sample) for sample in self.samples]
        total = math.inf
        nodes: dict[str, float] = {}
        begun, runs = time.perf_counter(), 0
        while runs < _REPEATS or time.perf_counter() - begun < _SECONDS:
            runs += 1
            start = time.perf_counter()
            engine.run(self.samples[0])
            total = min(total, 1e6 * (time.perf_counter() - start))
            _, entries = engine.profile(self.samples[0])
            for entry in entries:
                nodes[entry["name"]] = min(entry["microseconds"], nodes.get(entry["name"], math.inf))
        return Measured(outputs, nodes, total)

    def noise(self, precisions: Mapping[str, str]) -> float:
        """Noise of the outputs over their signal, as a share of power, for the worst sample."""
        engine = NativeEngine.of(self.graph(precisions), self.threads)
        return max(
            noise_share(expected, engine.run(sample))
            for expected, sample in zip(self.original.outputs, self.samples, strict=True)
        )

    def refine_ranges(self, others: Mapping[str, Range], progress: Progress | None) -> Recipe:
        """The recipe with that range of each value that its readers make less noise with.


        Rounding errors average out over many products and clipped peaks do not, so which range is better
        shows only in what comes out.
        """
        readers: dict[str, list[str]] = {}
        for node in self.prepared.nodes:
            if self.default.get(node.output) == "int8":
                readers.setdefault(node.inputs[0] or "", []).append(node.output)
        floats = dict.fromkeys(self.default, "float32")
        chosen = dict(self.recipe.ranges)
        own = self.recipe
        for at, (value, nodes) in enumerate(readers.items()):
            if value in others and others[value] != own.ranges.get(value):
                alone = floats | dict.fromkeys(nodes, "int8")
                before = self.noise(alone)
                self.recipe = replace(own, ranges={**own.ranges, value: others[value]})
                if self.noise(alone) < before:
                    chosen[value] = others[value]
                self.recipe = own
            if progress is not None:
                progress("compare ranges", at + 1, len(readers))
        self.recipe = replace(own, ranges=chosen)
        return self.recipe

    def sensitivities(self, precisions: Mapping[str, str], progress: Progress | None) -> None:
        """Finds the noise that each node makes when it alone is not in float32."""
        floats = dict.fromkeys(self.default, "float32")
        for at, (value, kind) in enumerate(precisions.items()):
            if value not in self.alone and kind != "float32":
                self.alone[value] = self.noise(floats | {value: kind})
            if progress is not None:
                progress("measure nodes", at + 1, len(precisions))

    def within(self, tolerance: float, instead: str, progress: Progress | None = None) -> dict[str, str]:
        """Precisions whose error is within the tolerance, with as few nodes taken out of integers as need be.

        Nodes are taken out in the order of the noise they make alone for each microsecond that they save.
        """
        self.slower = self.slower_nodes()
        return self.fewest_out(dict.fromkeys(self.slower, "float32"), tolerance, instead, progress)

    def fewest_out(
        self,
        out: Mapping[str, str],
        tolerance: float,
        instead: str,
        progress: Progress | None = None,
    ) -> dict[str, str]:
        """As :meth:`within`, where the nodes in ``out`` are out of integers anyway."""
        limit = tolerance**2
        begun = self.default | {value: kind for value, kind in out.items() if value in self.default}
        if self.noise(begun) <= limit:
            return begun
        self.sensitivities(self.default, progress)
        labels = {node.output: node.label for node in self.prepared.nodes}
        halves = self.measure(in_float(self.prepared, dict.fromkeys(self.default, instead)))
        times = {value: halves.nodes.get(labels[value], 0.0) for value in self.default}
        # A node by itself in float also costs the steps from integers and back, however small it is.
        conversion = 1.0 + sum(times.values()) / len(times)
        cost = {value: time + conversion for value, time in times.items()}
        order = sorted(
            (value for value in self.default if value not in out),
            key=lambda value: self.alone[value] / cost[value],
            reverse=True,
        )

        def suffices(count: int) -> bool:
            return self.noise(begun | dict.fromkeys(order[:count], instead)) <= limit

        # Errors do not fall evenly: the fewest that suffice are looked for from below, in doubling strides.
        low, high = 0, 1
        while high < len(order) and not suffices(high):
            low, high = high, min(2 * high, len(order))
            if progress is not None:
                progress("choose precisions", high, len(order))
        while high - low > 1:
            middle = (low + high) // 2
            if suffices(middle):
                high = middle
            else:
                low = middle
        return begun | dict.fromkeys(order[:high], instead)

    def slower_nodes(self) -> dict[str, tuple[float, float]]:
        """Nodes that take longer in integers than in float32, and both times in microseconds.

        The steps into integers and back that a node is the only one to need count as its own. As many of them
        as make the whole model faster: what is taken out may need new steps.
        """
        graph = self.graph(self.default)
        integers = self.measure(graph)
        steps = _own_conversions(graph)
        found = {}
        for node in self.prepared.nodes:
            if node.output not in self.default or node.label not in integers.nodes:
                continue
            own = [integers.nodes.get(label, 0.0) for label in (node.label, *steps.get(node.label, ()))]
            before = self.original.nodes.get(node.label, math.inf)
            if sum(own) > _WORTH * before:
                found[node.output] = (before, sum(own))
        order = sorted(found, key=lambda value: found[value][0] - found[value][1])
        while order:
            without = self.measure(self.graph(self.default | dict.fromkeys(order, "float32")))
            if without.total < integers.total:
                break
            order = order[: len(order) // 2]
        return {value: found[value] for value in order}


def _own_conversions(graph: Graph) -> dict[str, list[str]]:
    """The steps into integers and back that one node alone needs, by its label."""
    readers: dict[str, list[Node]] = {}
    maker = {name: node for node in graph.nodes for name in node.outputs}
    for node in graph.nodes:
        for name in node.inputs:
            if name is not None:
                readers.setdefault(name, []).append(node)
    found: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.op == "QuantizeLinear" and len(readers.get(node.output, ())) == 1:
            found.setdefault(readers[node.output][0].label, []).append(node.label)
        elif node.op == "DequantizeLinear" and node.inputs[0] in maker:
            found.setdefault(maker[node.inputs[0] or ""].label, []).append(node.label)
    return found


def _with_logits(graph: Graph) -> Graph:
    """The graph with what a softmax is taken of in place of outputs that are softmaxes.

    Where two classes are close, a softmax makes much of noise that changes little else.
    """
    maker = {name: node for node in graph.nodes for name in node.outputs}

    def unmoved(value: str) -> str:
        while (node := maker.get(value)) is not None and node.op in _KEEPS_ORDER:
            value = node.inputs[0] or value
        return value

    outputs = []
    for name in graph.outputs:
        node = maker.get(unmoved(name))
        outputs.append(unmoved(node.inputs[0] or name) if node is not None and node.op == "Softmax" else name)
    if tuple(outputs) == graph.outputs:
        return graph
    changed = graph.with_nodes(list(graph.nodes))
    changed.outputs = tuple(outputs)
    return remove_dead_code(changed)


def noise_share(expected: Sequence[Array], actual: Sequence[Array]) -> float:
    """Noise over signal of the worst output, as a share of power."""
    worst = 0.0
    for exact, found in zip(expected, actual, strict=True):
        if exact.dtype.kind != "f" or exact.size == 0:
            continue
        wide = exact.astype(np.float64)
        noise, signal = float(np.sum((wide - found) ** 2)), float(np.sum(wide**2))
        worst = max(worst, noise / signal if signal > 0 else (0.0 if noise == 0 else math.inf))
    return worst


def decibels(share: float) -> float:
    """Signal to noise in dB, of noise over signal."""
    if share == 0.0:
        return math.inf
    return -10.0 * math.log10(share) if math.isfinite(share) else -math.inf
