"""Nodes that hand on what they get are taken out."""

from __future__ import annotations

import numpy as np

from vedette.model.graph import Graph, Node
from vedette.model.rewriting import Editor, rewrite

# The number that changes nothing, and whether it may stand on either side.
_NEUTRAL = {"Add": (0, True), "Sub": (0, False), "Mul": (1, True), "Div": (1, False), "Pow": (1, False)}


def remove_identities(graph: Graph) -> Graph:
    """Takes out Identity, casts to the same type, additions of zero, products with one, transpositions that
    keep the order, concatenations of one tensor and paddings by nothing."""
    return rewrite(graph, _remove)


def _remove(editor: Editor, node: Node) -> None:
    value = _passed_on(editor, node)
    if value is None:
        return
    if not editor.is_output(node.output):
        editor.replace([node], [], at=node)
        editor.redirect(node.output, value)
        return
    # The caller asks for this name: the node that makes the value takes it over, unless its own is asked for.
    maker = editor.producer(value)
    if maker is None or editor.is_output(value):
        if node.op != "Identity":
            editor.replace([node], [Node("Identity", (value,), node.outputs, name=node.name)], at=node)
        return
    editor.replace([node], [], at=node)
    outputs = tuple(node.output if name == value else name for name in maker.outputs)
    editor.replace([maker], [maker.changed(outputs=outputs)], at=maker)
    editor.redirect(value, node.output)


def _passed_on(editor: Editor, node: Node) -> str | None:
    x = node.input(0)
    if x is None or len(node.outputs) != 1:
        return None
    match node.op:
        case "Identity":
            return x
        case "Cast":
            return x if editor.graph.type_of(x).dtype == node.attributes["to"] else None
        case "Transpose":
            perm = node.attributes.get("perm")
            return x if perm is not None and list(perm) == list(range(len(perm))) else None
        case "Concat":
            return x if len(node.inputs) == 1 else None
        case "Pad":
            pads = editor.constant(node.input(1))
            return x if pads is not None and not pads.any() else None
        case "Add" | "Sub" | "Mul" | "Div" | "Pow":
            return _neutral(editor, node)
    return None


def _neutral(editor: Editor, node: Node) -> str | None:
    number, commutes = _NEUTRAL[node.op]
    split = editor.constant_operand(node)
    if split is None:
        return None
    x, constant = split
    if node.inputs[0] != x and not commutes:
        return None
    rank = editor.graph.type_of(x).rank
    one_for_all = constant.ndim == 0 or (rank is not None and constant.ndim <= rank and constant.size == 1)
    return x if one_for_all and np.all(constant == number) else None
