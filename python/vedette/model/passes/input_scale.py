"""A constant that scales or shifts the input of convolutions is part of their weights."""

from __future__ import annotations

import numpy as np

from vedette.model.graph import Array, Graph, Node
from vedette.model.rewriting import Editor

# Dividing a shift by a smaller one would cost digits.
_SMALLEST_SCALE = 1e-2


def fold_input_scale(graph: Graph) -> Graph:
    """Folds Mul, and Add where no border is padded, into the weights of all convolutions that read it.

    Learnable affine blocks, as in PP-OCR v4, leave such a pair after every activation.
    """
    editor = Editor(graph)
    # From the end: once an addition is folded away, the product before it meets the convolution.
    for node in reversed(graph.nodes):
        if node.op in ("Mul", "Add"):
            _fold(editor, node)
    return editor.finish()


def _fold(editor: Editor, node: Node) -> None:
    split = editor.constant_operand(node)
    users = editor.users(node.output)
    if (
        split is None
        or editor.is_output(node.output)
        or not users
        or not editor.graph.is_float32(node.output)
    ):
        return
    x, constant = split
    if editor.graph.type_of(x).rank != editor.graph.type_of(node.output).rank:
        return
    if node.op == "Mul" and len(users) == 1 and users[0].op == "Add":
        _swap(editor, node, users[0], x, constant)
        return
    if not all(_can_take(editor, user, node, constant) for user in users):
        return
    for user in users:
        _take(editor, user, x, constant, shifts=node.op == "Add")
    editor.replace([node], [], at=node)


def _swap(editor: Editor, node: Node, addition: Node, x: str, scale: Array) -> None:
    """Reads ``scale x + shift`` as ``scale (x + shift / scale)``: convolutions can take that product."""
    split = editor.constant_operand(addition)
    users = editor.users(addition.output)
    if split is None or not users or editor.is_output(addition.output):
        return
    if np.abs(scale).min() < _SMALLEST_SCALE:
        return
    if not all(_can_take(editor, user, addition, scale, "Mul") for user in users):
        return
    for user in users:
        _take(editor, user, addition.output, scale, shifts=False)
    shift = editor.add_constant((split[1] / scale).astype(np.float32), f"{addition.label}:shift")
    editor.replace([node, addition], [addition.changed(inputs=(x, shift))], at=addition)


def _can_take(editor: Editor, conv: Node, node: Node, constant: Array, op: str | None = None) -> bool:
    weights = editor.constant(conv.input(1))
    if (
        conv.op != "Conv"
        or weights is None
        or conv.inputs.count(node.output) != 1
        or conv.inputs[0] != node.output
    ):
        return False
    bias_known = conv.input(2) is None or editor.constant(conv.input(2)) is not None
    padded = any(conv.attributes.get("pads") or ()) or conv.attributes["auto_pad"].startswith("SAME")
    if (op or node.op) == "Add" and (padded or not bias_known):
        return False
    if constant.ndim > weights.ndim:
        return False
    shape = (1,) * (weights.ndim - constant.ndim) + constant.shape
    count = weights.shape[1] * conv.attributes["group"]
    return shape[1] in (1, count) and all(size == 1 for axis, size in enumerate(shape) if axis != 1)


def _take(editor: Editor, conv: Node, x: str, constant: Array, shifts: bool) -> None:
    weights = editor.graph.constants[conv.inputs[1] or ""].astype(np.float64)
    groups = conv.attributes["group"]
    count = weights.shape[1] * groups
    by_input = np.broadcast_to(constant.reshape(-1).astype(np.float64), (count,))
    split = weights.reshape(groups, -1, weights.shape[1], int(np.prod(weights.shape[2:])))
    products = split * by_input.reshape(groups, 1, -1, 1)
    inputs = list(conv.inputs) + [None] * (3 - len(conv.inputs))
    inputs[0] = x
    if shifts:
        bias = editor.constant(conv.input(2))
        total = products.sum(axis=(2, 3)).reshape(-1) + (0.0 if bias is None else bias)
        inputs[2] = editor.add_constant(total.astype(np.float32), f"{conv.label}:bias")
    else:
        inputs[1] = editor.add_constant(
            products.reshape(weights.shape).astype(np.float32), f"{conv.label}:weights"
        )
    while inputs[-1] is None:
        inputs.pop()
    editor.replace([conv], [conv.changed(inputs=tuple(inputs))], at=conv)
