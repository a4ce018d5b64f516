"""Classifiers that answer with the likeliest class alone."""

from __future__ import annotations

import numpy as np

from vedette.errors import InputError
from vedette.model.graph import Graph, Node, TensorType


def answer_best_class(graph: Graph) -> Graph:
    """A compiled graph whose two outputs are the largest value along the last axis of the one it had, and its
    index.

    A softmax at the end is then never written down: of its results one in thousands is looked at.

    Raises
    ------
    InputError
        The graph has several outputs, or one that is not float32 along an axis.
    """
    (y,) = graph.outputs if len(graph.outputs) == 1 else ("",)
    shape = graph.type_of(y).shape
    if not graph.is_float32(y) or shape == ():
        given = ", ".join(
            f"{graph.type_of(name).dtype} {graph.type_of(name).shape}" for name in graph.outputs
        )
        raise InputError(
            f"best_class is for a model of one float32 output with an axis of classes; this one gives {given}"
        )
    made = graph.with_nodes(list(graph.nodes))
    made.outputs = score, index = f"{y}#score", f"{y}#class"
    outer = None if shape is None else shape[:-1]
    made.types |= {score: TensorType("float32", outer), index: TensorType("int64", outer)}
    last = next(node for node in graph.nodes if y in node.outputs)
    readers = [node for node in graph.nodes if y in node.inputs]
    rank = graph.type_of(y).rank
    along_last = last.attributes.get("axis", -1) in (-1, None if rank is None else rank - 1)
    if last.op == "Softmax" and along_last and not readers:
        made.nodes.remove(last)
        made.nodes.append(Node("BestClass", last.inputs, (score, index), {}, last.name))
        return made
    one, axis, best, place = (f"{y}#{part}" for part in ("one", "axis", "best", "place"))
    made.constants |= {one: np.array([1], np.int64), axis: np.array([-1], np.int64)}
    kept = None if outer is None else (*outer, 1)
    made.types |= {best: TensorType("float32", kept), place: TensorType("int64", kept)}
    made.nodes += [
        Node("TopK", (y, one), (best, place), {"axis": -1, "largest": 1, "sorted": 1}),
        Node("Squeeze", (best, axis), (score,)),
        Node("Squeeze", (place, axis), (index,)),
    ]
    return made
