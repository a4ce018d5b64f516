"""SiLU (swish) and Mish, as exporters spell them out."""

from __future__ import annotations

from vedette.model.graph import Graph, Node
from vedette.model.passes.activations import activation_node, activation_of
from vedette.model.passes.products import linear_of, product_of
from vedette.model.rewriting import Editor, rewrite


def fuse_silu(graph: Graph) -> Graph:
    """Finds ``x sigmoid(alpha x)`` and ``x tanh(softplus(x))``."""
    return rewrite(graph, _fuse)


def _fuse(editor: Editor, node: Node) -> None:
    if node.op != "Mul" or not editor.graph.is_float32(node.output):
        return
    product = product_of(editor, node)
    if len(product.values) != 2 or product.factor != 1.0:
        return
    for x, gate in (product.values, product.values[::-1]):
        outer = editor.sole(gate, "Activation")
        if outer is None:
            continue
        if activation_of(outer, "sigmoid") is not None:
            linear = linear_of(editor, outer.inputs[0])
            if linear is not None and linear[0] == x:
                silu = activation_node(x, node.output, {"kind": "silu", "alpha": linear[1]}, node.label)
                editor.replace([*product.nodes, outer, *linear[2]], [silu], at=node)
                return
        inner = editor.sole(outer.inputs[0], "Activation")
        if inner is None or inner.inputs[0] != x:
            continue
        if activation_of(outer, "tanh") and activation_of(inner, "softplus"):
            mish = activation_node(x, node.output, {"kind": "mish"}, node.label)
            editor.replace([*product.nodes, outer, inner], [mish], at=node)
            return
