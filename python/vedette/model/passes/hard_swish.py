"""HardSwish, as exporters spell it out."""

from __future__ import annotations

import math

from vedette.model.graph import Graph, Node
from vedette.model.passes.activations import Activation, activation_node
from vedette.model.passes.products import plus_number, product_of
from vedette.model.rewriting import Editor, rewrite


def fuse_hard_swish(graph: Graph) -> Graph:
    """Finds ``x clip(x + 3, 0, 6) / 6`` and ``x hard_sigmoid(x)`` in any order of their factors."""
    return rewrite(graph, _fuse)


def _fuse(editor: Editor, node: Node) -> None:
    if node.op not in ("Mul", "Div") or not editor.graph.is_float32(node.output):
        return
    product = product_of(editor, node)
    if len(product.values) != 2:
        return
    for x, gate in (product.values, product.values[::-1]):
        found = _gate(editor, x, gate, product.factor)
        if found is not None:
            activation, inner = found
            old = [*product.nodes, *inner]
            editor.replace(old, [activation_node(x, node.output, activation, node.label)], at=node)
            return


def _gate(editor: Editor, x: str, gate: str, factor: float) -> tuple[Activation, list[Node]] | None:
    """Reads ``factor * gate`` as ``clip(alpha x + beta, 0, 1)``."""
    node = editor.sole(gate, "Activation")
    if node is None:
        return None
    activation = node.attributes["activation"]
    if activation["kind"] == "hard_sigmoid" and node.inputs[0] == x and factor == 1.0:
        return {**activation, "kind": "scaled_hard_sigmoid"}, [node]
    if activation["kind"] != "clip" or activation.get("min") != 0.0 or "max" not in activation:
        return None
    high = activation["max"]
    total = plus_number(editor, node.inputs[0])
    if total is None or total[0] != x or not math.isclose(high * factor, 1.0, rel_tol=1e-5):
        return None
    return {"kind": "scaled_hard_sigmoid", "alpha": 1.0 / high, "beta": total[1] / high}, [node, total[2]]
