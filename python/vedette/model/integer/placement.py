"""Which values are held in uint8, and with which scale: decided by what their makers and readers can do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from vedette.model.graph import Graph, Node
from vedette.model.integer.operators import FOLLOWING, MOVING, WEIGHTED, activation_inputs, obstacle
from vedette.quantization.observers import Range
from vedette.quantization.parameters import Parameters

# Tensors whose ranges differ by more than this many times keep their own scale when they are joined.
_SIMILAR = 1.5


def place(
    graph: Graph, ranges: Mapping[str, Range], precision: Callable[[Node], str | None]
) -> dict[str, Parameters]:
    """Scale and zero point of the values that are best held in uint8.

    Products with constant weights of precision ``"int8"`` are done in integers; what stands between them
    follows where all of its readers or makers are integers too, so that no island of float remains that
    needs none.

    Parameters
    ----------
    ranges
        What each value reached when the model ran on real input; a value without a range stays float.
    precision
        The precision of a node: ``"int8"`` or None for as it comes, anything else keeps it out.
    """
    chosen = _integer_nodes(graph, ranges, precision)
    held: set[str] = set()
    readers = _readers(graph)
    for node in chosen:
        held.update(activation_inputs(graph, node))
        if node.op not in WEIGHTED or any(reader in chosen for reader in readers[node.output]):
            held.update(node.outputs)
    classes = _shared_scales(graph, chosen, held, ranges, readers)
    parameters: dict[str, Parameters] = {}
    spans: dict[str, list[str]] = defaultdict(list)
    for name in held:
        spans[classes.root(name)].append(name)
    for members in spans.values():
        known = [ranges[name] for name in members if name in ranges]
        shared = Parameters.of_range(min(low for low, _ in known), max(high for _, high in known))
        parameters.update(dict.fromkeys(members, shared))
    return parameters


def _readers(graph: Graph) -> dict[str, list[Node]]:
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for name in node.inputs:
            if name is not None:
                readers[name].append(node)
    return readers


def _integer_nodes(
    graph: Graph, ranges: Mapping[str, Range], precision: Callable[[Node], str | None]
) -> set[Node]:
    readers = _readers(graph)
    maker = {name: node for node in graph.nodes for name in node.outputs}
    chosen: set[Node] = set()
    for node in graph.nodes:
        if node.op not in (*WEIGHTED, *FOLLOWING) or precision(node) not in (None, "int8"):
            continue
        if obstacle(graph, node) is not None:
            continue
        if node.op in WEIGHTED:
            if precision(node) == "int8" and all(name in ranges for name in activation_inputs(graph, node)):
                chosen.add(node)
        elif all(name in ranges for name in (*activation_inputs(graph, node), *node.outputs)):
            chosen.add(node)
    changed = True
    while changed:
        changed = False
        for node in graph.nodes:
            if node in chosen and node.op not in WEIGHTED and not _pays(graph, node, chosen, maker, readers):
                chosen.discard(node)
                changed = True
    return chosen


def _pays(
    graph: Graph, node: Node, chosen: set[Node], maker: Mapping[str, Node], readers: Mapping[str, list[Node]]
) -> bool:
    """Whether a following node has integers before it and after it.

    What is made larger is rounded before that: fewer values, and bytes to move.
    """
    if node.op == "Resize" and _enlarges(graph, node):
        return any(readers[name] for name in node.outputs) and all(
            reader in chosen for name in node.outputs for reader in readers[name]
        )
    made = [maker.get(name) in chosen for name in activation_inputs(graph, node)]
    read = any(reader in chosen for name in node.outputs for reader in readers[name])
    # A sum or a joint of a float and an integer side is worth rounding the float one.
    return bool(made) and read and (all(made) if len(made) == 1 else any(made))


def _enlarges(graph: Graph, node: Node) -> bool:
    scales = graph.constants.get(node.input(2) or "")
    return scales is not None and scales.size > 0 and bool((scales >= 1.0).all())


class _Classes:
    """Values that must have the same scale."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        while (parent := self._parent.get(name, name)) != name:
            name = parent
        return name

    def join(self, a: str, b: str) -> None:
        self._parent[self.root(b)] = self.root(a)


def _shared_scales(
    graph: Graph,
    chosen: set[Node],
    held: set[str],
    ranges: Mapping[str, Range],
    readers: Mapping[str, list[Node]],
) -> _Classes:
    classes = _Classes()
    for node in graph.nodes:
        if node not in chosen:
            continue
        if node.op in MOVING:
            for name in node.outputs:
                classes.join(activation_inputs(graph, node)[0], name)
        elif node.op == "Concat":
            for name in activation_inputs(graph, node):
                # Only the joint reads it: it may as well be made in the joint's scale, and is then copied.
                alone = all(reader is node for reader in readers[name])
                if name in held and (alone or _is_similar(ranges[name], ranges[node.output])):
                    classes.join(node.output, name)
    return classes


def _is_similar(one: Range, other: Range) -> bool:
    widths = sorted(max(high, 0.0) - min(low, 0.0) for low, high in (one, other))
    return widths[1] <= _SIMILAR * widths[0]
