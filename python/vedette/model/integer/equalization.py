"""Channels scaled so that all of them use the whole range of a tensor, and weights scaled back.

Dividing a channel by a number where it is made and multiplying the weights that read it changes nothing in
real numbers, as long as only sums, windows and functions with ``f(s x) = s f(x)`` stand between: M. Nagel
et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, with ranges of
activations as in G. Xiao et al., "SmoothQuant", 2022.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from vedette.model.graph import Array, Graph, Node
from vedette.model.integer.calibration import Calibration
from vedette.model.integer.smoothing import smooth
from vedette.model.rewriting import Editor

_MOST = 64.0
"""Scales are at most so many times above or below the middle one: what is never seen is not blown up."""

_SAME_CHANNELS = frozenset({"Identity", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"})
_HOMOGENEOUS = ("relu", "leaky_relu")

Channels = NDArray[np.int64]


class ChannelMap:
    """Which channels of which values must be scaled alike, as numbers of channels that are equal for those.

    Only values with channels on axis 1, made by convolutions, have such numbers.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.of: dict[str, Channels] = {}
        self._parent: list[int] = []
        self._pinned: set[int] = set()
        for node in graph.nodes:
            self._visit(node)
        for name in graph.outputs:
            self._pin(name)

    def roots(self, name: str) -> Channels:
        """The numbers of a value's channels."""
        return np.array([self._root(int(at)) for at in self.of[name]], np.int64)

    def free(self, roots: Channels) -> NDArray[np.bool_]:
        """Which of these channels may be scaled."""
        pinned = {self._root(at) for at in self._pinned}
        return np.array([int(at) not in pinned for at in roots], bool)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return len(self._parent)

    def _root(self, at: int) -> int:
        while self._parent[at] != at:
            self._parent[at] = self._parent[self._parent[at]]
            at = self._parent[at]
        return at

    def _new(self, name: str, count: int) -> Channels:
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        self.of[name] = np.arange(start, start + count)
        return self.of[name]

    def _join(self, a: Channels, b: Channels) -> bool:
        if a.size != b.size:
            return False
        for x, y in zip(a.tolist(), b.tolist(), strict=True):
            self._parent[self._root(y)] = self._root(x)
        return True

    def _pin(self, *names: str | None) -> None:
        for name in names:
            if name in self.of:
                self._pinned.update(self.of[name or ""].tolist())

    def _visit(self, node: Node) -> None:
        if not self._passes(node):
            self._pin(*node.inputs)

    def _passes(self, node: Node) -> bool:
        """Notes the channels of a node's result; whether those of its inputs may be scaled."""
        x = self.of.get(node.inputs[0] or "") if node.inputs else None
        if node.op in ("Conv", "ConvTranspose"):
            return self._convolution(node, x)
        if node.op == "Add":
            return self._sum(node)
        if node.op == "Concat" and node.attributes["axis"] == 1:
            parts = [self.of.get(name or "") for name in node.inputs]
            if any(part is None for part in parts):
                return False
            self.of[node.output] = np.concatenate([part for part in parts if part is not None])
            return True
        if x is None:
            return False
        homogeneous = node.op == "Activation" and node.attributes["activation"]["kind"] in _HOMOGENEOUS
        if (
            homogeneous
            or node.op in _SAME_CHANNELS
            or (node.op == "SqueezeExcite" and self._squeeze(node, x))
        ):
            self.of[node.output] = x
            return True
        return False

    def _squeeze(self, node: Node, x: Channels) -> bool:
        weights = self.graph.constants.get(node.inputs[1] or "")
        return weights is not None and weights.shape[1] == x.size

    def _sum(self, node: Node) -> bool:
        a, b = (self.of.get(name or "") for name in node.inputs)
        if a is None or b is None or not self._join(a, b):
            return False
        self.of[node.output] = a
        return True

    def _convolution(self, node: Node, x: Channels | None) -> bool:
        weights = self.graph.constants.get(node.input(1) or "")
        bias, residual = node.input(2), node.input(3)
        if weights is None or weights.ndim != 4 or (bias is not None and bias not in self.graph.constants):
            return False
        # A residual is another matter than the input.
        if x is not None and x.size != (
            weights.shape[1] * node.attributes["group"] if node.op == "Conv" else weights.shape[0]
        ):
            return False
        groups = node.attributes.get("group", 1)
        made = weights.shape[0] if node.op == "Conv" else weights.shape[1] * groups
        y = self._new(node.output, made)
        activation = node.attributes.get("activation")
        if activation and activation["kind"] not in _HOMOGENEOUS:
            self._pin(node.output)
        if residual is not None:
            side = self.of.get(residual)
            if side is None or not self._join(side, y):
                self._pin(node.output, residual)
        return True


def find_scales(graph: Graph, calibration: Calibration, alpha: float) -> dict[str, NDArray[np.float32]]:
    """What to divide the channels of convolutions' results by, by the value they make.

    Parameters
    ----------
    alpha
        How much the ranges of activations count: ``range^alpha / weights^(1 - alpha)`` is a channel's scale.
    """
    channels = ChannelMap(graph)
    reached, weighed = np.zeros(channels.size), np.zeros(channels.size)
    for name in channels.of:
        seen = calibration.statistics.get(name)
        if (
            seen is not None
            and seen.channels is not None
            and seen.channels.minimum.size == channels.of[name].size
        ):
            largest = np.maximum(np.abs(seen.channels.minimum), np.abs(seen.channels.maximum))
            np.maximum.at(reached, channels.roots(name), largest)
    for node in graph.nodes:
        if node.op in ("Conv", "ConvTranspose") and node.inputs[0] in channels.of:
            importance = _column_weights(node, graph.constants.get(node.inputs[1] or ""))
            roots = channels.roots(node.inputs[0] or "")
            if importance is not None and importance.size == roots.size:
                np.maximum.at(weighed, roots, importance)
    found = {}
    for node in graph.nodes:
        if node.op not in ("Conv", "ConvTranspose") or node.output not in channels.of:
            continue
        roots = channels.roots(node.output)
        usable = channels.free(roots) & (reached[roots] > 0)
        if not usable.any():
            continue
        scale = np.ones(roots.size)
        weights = np.where(weighed[roots] > 0, weighed[roots], 1.0)
        scale[usable] = reached[roots][usable] ** alpha / weights[usable] ** (1 - alpha)
        # The whole tensor's scale is nobody's loss; that of a class must be the same wherever it is made.
        found[node.output] = np.where(usable, scale, 1.0)
    return _bounded(channels, found)


def _bounded(channels: ChannelMap, found: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
    """Scales around one for each set of tensors that share channels, within bounds, in half floats."""
    owner: dict[int, int] = {}
    groups = _Groups()
    for name in found:
        roots = channels.roots(name).tolist()
        for root in roots:
            groups.join(roots[0], root)
            owner[root] = roots[0]
    middle: dict[int, list[float]] = {}
    for name, scale in found.items():
        for root, number in zip(channels.roots(name).tolist(), scale.tolist(), strict=True):
            middle.setdefault(groups.root(root), []).append(number)
    result = {}
    for name, scale in found.items():
        roots = channels.roots(name)
        center = float(np.median(middle[groups.root(int(roots[0]))]))
        free = channels.free(roots)
        relative = np.clip(scale / center, 1 / _MOST, _MOST)
        rounded = np.where(free, relative, 1.0).astype(np.float16).astype(np.float32)
        if (rounded != 1.0).any():
            result[name] = rounded
    return result


class _Groups:
    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def root(self, at: int) -> int:
        while (parent := self._parent.get(at, at)) != at:
            at = parent
        return at

    def join(self, a: int, b: int) -> None:
        self._parent[self.root(b)] = self.root(a)


def _column_weights(node: Node, weights: Array | None) -> Array | None:
    """How large the weights of each input channel are beside the largest of the same output channel."""
    if weights is None or weights.ndim != 4:
        return None
    largest = np.abs(weights).max((2, 3))
    if node.op == "ConvTranspose":
        return np.asarray(largest.max(1) / max(float(largest.max()), 1e-30))
    relative = largest / np.maximum(largest.max(1, keepdims=True), 1e-30)
    groups = node.attributes.get("group", 1)
    return np.asarray(relative.reshape(groups, -1, weights.shape[1]).max(1).reshape(-1))


def equalize(graph: Graph, scales: Mapping[str, Array]) -> Graph:
    """Divides channels by these scales where they are made, and multiplies weights where they are read."""
    if not scales:
        return graph
    graph = smooth(graph, scales)
    channels = ChannelMap(graph)
    factor = np.ones(channels.size)
    for name, scale in scales.items():
        if name in channels.of and channels.of[name].size == scale.size:
            roots = channels.roots(name)
            factor[roots] = np.where(channels.free(roots), scale, 1.0)

    def scaled(names: Iterable[str | None]) -> Array | None:
        for name in names:
            if name in channels.of:
                return factor[channels.roots(name or "")]
        return None

    def rewrite(editor: Editor, node: Node) -> None:
        if node.op in ("Conv", "ConvTranspose"):
            if node.output in channels.of:
                _scale_convolution(editor, node, scaled([node.inputs[0]]), scaled([node.output]))
        elif node.op == "SqueezeExcite":
            inner = scaled([node.inputs[0]])
            if inner is not None:
                weights = editor.graph.constants[node.inputs[1] or ""] * inner.reshape(1, -1, 1, 1)
                name = editor.add_constant(weights.astype(np.float32), f"{node.label}:equalized")
                changed = node.changed(inputs=(node.inputs[0], name, *node.inputs[2:]))
                editor.replace([node], [changed], at=node)

    return Editor(graph).sweep(rewrite)


def _scale_convolution(editor: Editor, node: Node, inner: Array | None, outer: Array | None) -> None:
    weights = editor.graph.constants[node.inputs[1] or ""].astype(np.float64)
    groups = node.attributes.get("group", 1)
    inputs = list(node.inputs)
    # By group, then channels made and read; a transposed convolution has those read first.
    split = weights.reshape(groups, -1, *weights.shape[1:])
    first, second = (outer, inner) if node.op == "Conv" else (inner, outer)
    if first is not None:
        by_first = first.reshape(groups, -1, 1, 1, 1)
        split = split / by_first if node.op == "Conv" else split * by_first
    if second is not None:
        by_second = second.reshape(groups, 1, -1, 1, 1)
        split = split * by_second if node.op == "Conv" else split / by_second
    made = split.reshape(weights.shape).astype(np.float32)
    inputs[1] = editor.add_constant(made, f"{node.label}:equalized")
    bias = editor.constant(node.input(2))
    if bias is not None and outer is not None:
        inputs[2] = editor.add_constant((bias / outer).astype(np.float32), f"{node.label}:equalized_bias")
    editor.replace([node], [node.changed(inputs=tuple(inputs))], at=node)
