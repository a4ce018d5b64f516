"""What depends on constants alone is computed when the model is loaded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vedette.errors import VedetteError
from vedette.model.graph import Array, Graph, Node

IMPURE = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators that give something else each time."""

Evaluate = Callable[[Graph], dict[str, Array]]


def fold_constants(graph: Graph, evaluate: Evaluate) -> Graph:
    """Replaces nodes whose inputs are all constant by their results.

    Parameters
    ----------
    evaluate : callable
        Runs a graph without inputs and returns its outputs by name. A node that it refuses stays in the
        graph, where the refusal will say what is wrong.
    """
    graph = _fold_static_shapes(graph)
    known = set(graph.constants)
    foldable: list[Node] = []
    for node in graph.nodes:
        if node.op not in IMPURE and all(value is None or value in known for value in node.inputs):
            foldable.append(node)
            known.update(node.outputs)
    if not foldable:
        return graph
    try:
        values = _evaluate(graph, foldable, evaluate)
        folded = set(foldable)
    except VedetteError:
        values, folded = _evaluate_one_by_one(graph, foldable, evaluate)
    result = graph.with_nodes([node for node in graph.nodes if node not in folded])
    result.constants.update(values)
    return result


def _fold_static_shapes(graph: Graph) -> Graph:
    nodes = []
    shapes: dict[str, Array] = {}
    for node in graph.nodes:
        shape = graph.type_of(node.inputs[0]).shape if node.op == "Shape" else None
        if (
            shape is not None
            and all(isinstance(size, int) for size in shape)
            and node.output not in graph.outputs
        ):
            part = slice(node.attributes.get("start", 0), node.attributes.get("end"))
            shapes[node.output] = np.asarray(shape[part], np.int64)
        else:
            nodes.append(node)
    result = graph.with_nodes(nodes)
    result.constants.update(shapes)
    return result


def _evaluate(graph: Graph, nodes: list[Node], evaluate: Evaluate) -> dict[str, Array]:
    """The values made by these nodes that anything else reads."""
    inside = set(nodes)
    made = {value for node in nodes for value in node.outputs}
    read = {value for node in graph.nodes if node not in inside for value in node.inputs} | set(graph.outputs)
    outputs = tuple(value for node in nodes for value in node.outputs if value in read & made)
    if not outputs:
        return {}
    used = {value for node in nodes for value in node.inputs}
    constants = {name: array for name, array in graph.constants.items() if name in used}
    return evaluate(Graph((), outputs, nodes, constants, graph.types))


def _evaluate_one_by_one(
    graph: Graph, nodes: list[Node], evaluate: Evaluate
) -> tuple[dict[str, Array], set[Node]]:
    values: dict[str, Array] = {}
    folded: set[Node] = set()
    for node in nodes:
        if not all(value is None or value in values or value in graph.constants for value in node.inputs):
            continue
        constants = {
            value: values[value] if value in values else graph.constants[value]
            for value in node.inputs
            if value is not None
        }
        try:
            values.update(evaluate(Graph((), node.outputs, [node], constants, graph.types)))
        except VedetteError:
            continue
        folded.add(node)
    return values, folded
