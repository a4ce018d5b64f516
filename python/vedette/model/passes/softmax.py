"""A softmax over flattened dimensions of which there is one is a softmax along the last axis."""

from __future__ import annotations

from vedette.model.graph import Graph, Node
from vedette.model.rewriting import Editor, rewrite


def unflatten_softmax(graph: Graph) -> Graph:
    """Takes the reshaping away that models older than opset 13 get where their ranks were not known yet."""
    return rewrite(graph, _unflatten)


def _unflatten(editor: Editor, node: Node) -> None:
    if node.op != "Reshape":
        return
    softmax = editor.sole(node.inputs[0], "Softmax", "LogSoftmax", "Hardmax")
    flat = editor.sole(softmax.inputs[0], "Flatten") if softmax is not None else None
    shape = editor.producer(node.input(1), "Shape")
    if softmax is None or flat is None or shape is None or softmax.attributes.get("axis", -1) != -1:
        return
    rank = editor.graph.type_of(flat.inputs[0]).rank
    whole = shape.attributes.get("start", 0) == 0 and "end" not in shape.attributes
    if (
        shape.inputs[0] == flat.inputs[0]
        and whole
        and rank is not None
        and flat.attributes["axis"] == rank - 1
    ):
        direct = softmax.changed(inputs=flat.inputs, outputs=node.outputs)
        editor.replace([flat, softmax, node], [direct], at=node)
