"""Nodes, constants and notes that nothing needs are dropped."""

from __future__ import annotations

from vedette.model.graph import Graph


def remove_dead_code(graph: Graph) -> Graph:
    """Keeps what the outputs depend on."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(value for value in node.inputs if value is not None)
    result = graph.with_nodes(kept[::-1])
    made = needed.union(*(node.outputs for node in kept), graph.inputs)
    result.constants = {name: array for name, array in graph.constants.items() if name in needed}
    result.types = {name: type_ for name, type_ in graph.types.items() if name in made}
    return result
