"""Editing a graph node by node: who makes a value, who uses it, and replacing a few nodes by others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from vedette.model.graph import Array, Graph, Node, TensorType, scalar


class Editor:
    """A graph while a pass rewrites it. The graph it was made from stays as it is."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph.with_nodes([])
        self._slots: list[list[Node]] = [[node] for node in graph.nodes]
        self._position: dict[Node, int] = {node: at for at, node in enumerate(graph.nodes)}
        self._producer: dict[str, Node] = {}
        self._users: dict[str, list[Node]] = defaultdict(list)
        self._outputs = frozenset(graph.outputs)
        self._fresh = 0
        for node in graph.nodes:
            self._register(node)

    def _register(self, node: Node) -> None:
        for value in node.outputs:
            self._producer[value] = node
        for read in node.inputs:
            if read is not None:
                self._users[read].append(node)

    def _unregister(self, node: Node) -> None:
        for value in node.outputs:
            if self._producer.get(value) is node:
                del self._producer[value]
        for read in node.inputs:
            if read is not None:
                self._users[read].remove(node)

    def producer(self, value: str | None, *ops: str) -> Node | None:
        """The node that makes the value; with ``ops``, only if it is one of these."""
        node = self._producer.get(value) if value is not None else None
        return node if node is not None and (not ops or node.op in ops) else None

    def users(self, value: str) -> list[Node]:
        """The nodes that read the value, once for each time they do."""
        return list(self._users[value])

    def is_output(self, value: str) -> bool:
        """Whether the caller of the model receives the value."""
        return value in self._outputs

    def used_once(self, value: str) -> bool:
        """Whether one single node reads the value, and nobody else."""
        return len(self._users[value]) == 1 and value not in self._outputs

    def sole(self, value: str | None, *ops: str) -> Node | None:
        """The node that makes the value, if it may be taken away together with its only user."""
        node = self.producer(value, *ops)
        if node is None or value is None or len(node.outputs) != 1 or not self.used_once(value):
            return None
        return node

    def constant(self, value: str | None) -> Array | None:
        """The elements of a constant."""
        return self.graph.constants.get(value) if value is not None else None

    def scalar(self, value: str | None) -> float | None:
        """The number in a constant of one element."""
        return scalar(self.constant(value))

    def constant_operand(self, node: Node) -> tuple[str, Array] | None:
        """Splits a binary node of which one operand is constant into the other operand and the constant."""
        if len(node.inputs) != 2:
            return None
        for value, other in (node.inputs, node.inputs[::-1]):
            array = self.constant(other)
            if array is not None and value is not None and self.constant(value) is None:
                return value, array
        return None

    def fresh(self, hint: str) -> str:
        """A name no value has yet."""
        taken = self.graph.constants.keys() | self.graph.types.keys()
        while True:
            self._fresh += 1
            name = f"{hint}#{self._fresh}"
            if name not in taken and name not in self._producer:
                return name

    def add_constant(self, array: Array, hint: str) -> str:
        """Adds a constant and returns its name."""
        name = self.fresh(hint)
        self.graph.constants[name] = array
        return name

    def set_type(self, value: str, type_: TensorType) -> None:
        """Notes what is known of a new value."""
        self.graph.types[value] = type_

    def replace(self, old: Iterable[Node], new: Sequence[Node], at: Node) -> None:
        """Replaces nodes by others, which stand where ``at`` (one of the old ones) stood."""
        slot = self._position[at]
        place = self._slots[slot].index(at)
        self._slots[slot][place:place] = new
        for node in old:
            self._unregister(node)
            self._slots[self._position.pop(node)].remove(node)
        for node in new:
            self._position[node] = slot
            self._register(node)

    def redirect(self, value: str, to: str) -> None:
        """Lets every reader of ``value`` read ``to`` instead."""
        for user in dict.fromkeys(self._users[value]):
            inputs = tuple(to if name == value else name for name in user.inputs)
            self.replace([user], [user.changed(inputs=inputs)], at=user)

    def finish(self) -> Graph:
        """The rewritten graph."""
        self.graph.nodes = [node for slot in self._slots for node in slot]
        return self.graph

    def sweep(self, rewrite: Callable[[Editor, Node], object]) -> Graph:
        """Offers every node, in execution order, to ``rewrite``; returns the rewritten graph."""
        for slot in self._slots:
            for node in tuple(slot):
                if node in self._position:
                    rewrite(self, node)
        return self.finish()


def rewrite(graph: Graph, rule: Callable[[Editor, Node], object]) -> Graph:
    """Applies a rule to every node of a graph."""
    return Editor(graph).sweep(rule)
