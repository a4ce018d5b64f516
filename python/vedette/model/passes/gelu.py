"""GELU, as exporters spell it out."""

from __future__ import annotations

import math

from vedette.model.graph import Graph, Node
from vedette.model.passes.activations import activation_node, activation_of
from vedette.model.passes.products import linear_of, plus_number, product_of
from vedette.model.rewriting import Editor, rewrite


def fuse_gelu(graph: Graph) -> Graph:
    """Finds ``x/2 (1 + erf(x / sqrt 2))`` in any order of its factors."""
    return rewrite(graph, _fuse)


def _fuse(editor: Editor, node: Node) -> None:
    if node.op not in ("Mul", "Div") or not editor.graph.is_float32(node.output):
        return
    product = product_of(editor, node)
    if len(product.values) != 2 or not math.isclose(product.factor, 0.5, rel_tol=1e-5):
        return
    for x, gate in (product.values, product.values[::-1]):
        total = plus_number(editor, gate)
        if total is None or total[1] != 1.0:
            continue
        erf = editor.sole(total[0], "Activation")
        if erf is None or activation_of(erf, "erf") is None:
            continue
        linear = linear_of(editor, erf.inputs[0])
        if linear is not None and linear[0] == x and math.isclose(linear[1], math.sqrt(0.5), rel_tol=1e-5):
            old = [*product.nodes, total[2], erf, *linear[2]]
            editor.replace(old, [activation_node(x, node.output, {"kind": "gelu"}, node.label)], at=node)
            return
