"""An activation after a convolution or matrix product is done while its results are still in registers."""

from __future__ import annotations

from vedette.model.graph import Graph, Node
from vedette.model.passes.weights import WEIGHTED
from vedette.model.rewriting import Editor, rewrite


def fuse_activations(graph: Graph) -> Graph:
    """Moves Activation nodes into the Conv, ConvTranspose or MatMul before them."""
    return rewrite(graph, _fuse)


def _fuse(editor: Editor, node: Node) -> None:
    if node.op != "Activation":
        return
    maker = editor.sole(node.inputs[0], *WEIGHTED)
    if maker is None or maker.attributes.get("activation"):
        return
    fused = maker.with_attributes(activation=node.attributes["activation"]).changed(outputs=node.outputs)
    editor.replace([maker, node], [fused], at=node)
