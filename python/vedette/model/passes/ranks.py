"""Shapes that ONNX's inference does not find, because they are computed, are noted in the graph."""

from __future__ import annotations

from vedette.model.graph import Graph, TensorType
from vedette.model.shapes import infer_sizes


def note_shapes(graph: Graph) -> Graph:
    """Fills in the rank, and the sizes that are numbers, of values whose shape is unknown."""
    result = graph.with_nodes(list(graph.nodes))
    for name, sizes in infer_sizes(graph).items():
        type_ = graph.type_of(name)
        if type_.shape is None:
            shape = tuple(None if size.symbols else size.factor for size in sizes)
            result.types[name] = TensorType(type_.dtype, shape)
    return result
