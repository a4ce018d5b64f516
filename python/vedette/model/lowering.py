"""From a graph to the program that the native engine runs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from vedette.errors import UnsupportedModelError
from vedette.model.graph import Array, Graph, Node
from vedette.model.passes.classes import fuse_classes
from vedette.model.passes.concatenation import fuse_concatenation
from vedette.model.passes.projections import merge_projections


def lower(graph: Graph) -> tuple[str, list[Array]]:
    """The program as JSON, and the constants it names, in that order."""
    # Not among the passes: those that quantise look for the concatenation, and at each product by itself.
    graph = fuse_classes(merge_projections(fuse_concatenation(graph)))
    ids: dict[str, int] = {}

    def number(value: str) -> int:
        return ids.setdefault(value, len(ids))

    inputs = [
        {
            "value": number(name),
            "name": name,
            "dtype": graph.type_of(name).dtype,
            "shape": _declared_shape(graph, name),
        }
        for name in graph.inputs
    ]
    used = {value for node in graph.nodes for value in node.inputs} | set(graph.outputs)
    constants = {number(name): array for name, array in graph.constants.items() if name in used}
    nodes = [
        {
            "op": node.op,
            "name": node.label,
            "inputs": [None if value is None else number(value) for value in node.inputs],
            "outputs": [number(value) for value in node.outputs],
            "attributes": {name: _attribute(node, name, value) for name, value in node.attributes.items()},
        }
        for node in graph.nodes
    ]
    program = {
        "version": 1,
        "inputs": inputs,
        "outputs": [{"value": number(name), "name": name} for name in graph.outputs],
        "constants": list(constants),
        "nodes": nodes,
        "values": len(ids),
    }
    return json.dumps(program, allow_nan=False), list(constants.values())


def _declared_shape(graph: Graph, name: str) -> list[int | None] | None:
    shape = graph.type_of(name).shape
    return None if shape is None else [size if isinstance(size, int) else None for size in shape]


def _attribute(node: Node, name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray):
        raise UnsupportedModelError(f"{node.op} '{node.label}' has a tensor as its attribute '{name}'")
    if isinstance(value, float) and not np.isfinite(value):
        raise UnsupportedModelError(f"{node.op} '{node.label}' has {value} as its attribute '{name}'")
    return value
