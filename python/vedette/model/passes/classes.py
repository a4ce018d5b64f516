"""A product with a column for each of thousands of classes is answered where it is made, never written."""

from __future__ import annotations

from vedette.model.graph import Graph, Node
from vedette.model.rewriting import Editor

# The product is made twice: once for the sum of the shares, once for the shares. That takes less time than
# rows of many classes that go to memory and back, but not where each is a sum of very many terms.
LEAST_CLASSES = 4096
_DEEPEST = 512


def fuse_classes(graph: Graph) -> Graph:
    """Makes a Softmax or BestClass of a bfloat16 MatMul with constant weights one operator."""
    return Editor(graph).sweep(_fuse)


def _fuse(editor: Editor, node: Node) -> None:
    if node.op not in ("Softmax", "BestClass"):
        return
    product = editor.sole(node.inputs[0], "MatMul")
    rank = editor.graph.type_of(node.inputs[0] or "").rank
    if product is None or node.attributes.get("axis", -1) not in (-1, None if rank is None else rank - 1):
        return
    attributes = product.attributes
    weights = editor.constant(product.input(1))
    if weights is None or weights.ndim != 2 or product.input(3) is not None or attributes.get("activation"):
        return
    if attributes.get("precision") != "bfloat16" or attributes.get("trans_a"):
        return
    depth, classes = weights.shape[::-1] if attributes.get("trans_b") else weights.shape
    if classes < LEAST_CLASSES or (node.op == "Softmax" and depth > _DEEPEST):
        return
    fused = product.changed(op=f"MatMul{node.op}", outputs=node.outputs)
    editor.replace([product, node], [fused], at=node)
