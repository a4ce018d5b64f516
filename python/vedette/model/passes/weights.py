"""Scaling and shifting the results of a convolution or matrix product by changing its weights."""

from __future__ import annotations

import numpy as np

from vedette.model.graph import Array, Node
from vedette.model.rewriting import Editor

WEIGHTED = ("Conv", "ConvTranspose", "MatMul")


def weighted(editor: Editor, value: str | None) -> Node | None:
    """The node that makes the value from constant weights and nothing after them, if it is read only once."""
    node = editor.sole(value, *WEIGHTED)
    if node is None or node.attributes.get("activation") or node.input(3) is not None:
        return None
    weights = editor.constant(node.inputs[1])
    if weights is None or weights.dtype != np.float32 or weights.ndim < (2 if node.op == "MatMul" else 3):
        return None
    if node.op == "MatMul" and weights.ndim != 2:
        return None
    return node if node.input(2) is None or editor.constant(node.input(2)) is not None else None


def channels(editor: Editor, node: Node) -> int:
    """How many channels, or columns, the node makes."""
    shape = editor.graph.constants[node.inputs[1] or ""].shape
    if node.op == "Conv":
        return int(shape[0])
    if node.op == "ConvTranspose":
        return int(shape[1] * node.attributes["group"])
    return int(shape[0] if node.attributes.get("trans_b") else shape[1])


def per_channel(editor: Editor, node: Node, constant: Array) -> Array | None:
    """A constant operand beside the node's result, as one number a channel; None where it is not that."""
    count = channels(editor, node)
    if node.op == "MatMul":
        rank = editor.graph.type_of(node.inputs[0]).rank
        axis = -1
        if constant.ndim > 1 and (rank is None or constant.ndim > rank):
            return None
    else:
        rank = editor.graph.constants[node.inputs[1] or ""].ndim
        axis = 1 - rank
        if constant.ndim > rank:
            return None
    sizes = dict(enumerate(reversed(constant.shape), start=1))
    if any(size != 1 for at, size in sizes.items() if -at != axis) or sizes.get(-axis, 1) not in (1, count):
        return None
    return np.broadcast_to(constant.astype(np.float64).reshape(-1), (count,))


def fold_affine(editor: Editor, node: Node, scale: Array | None, shift: Array | None, last: Node) -> None:
    """Lets ``node`` make what ``last`` made of its result: ``scale`` times it, plus ``shift``, by channel."""
    weights = editor.graph.constants[node.inputs[1] or ""]
    count = channels(editor, node)
    bias = editor.constant(node.input(2))
    new_bias = np.zeros(count) if bias is None else bias.astype(np.float64).reshape(-1)
    inputs = list(node.inputs[:2])
    if scale is not None:
        new_bias = new_bias * scale
        inputs[1] = editor.add_constant(_scaled(node, weights, scale), f"{node.label}:weights")
    if shift is not None:
        new_bias = new_bias + shift
    if bias is not None or shift is not None:
        inputs.append(
            editor.add_constant(np.broadcast_to(new_bias, (count,)).astype(np.float32), f"{node.label}:bias")
        )
    folded = node.changed(inputs=tuple(inputs), outputs=last.outputs[:1])
    editor.replace([node, last], [folded], at=last)


def _scaled(node: Node, weights: Array, scale: Array) -> Array:
    wide = weights.astype(np.float64)
    if node.op == "Conv":
        wide = wide * scale.reshape(-1, *[1] * (weights.ndim - 1))
    elif node.op == "ConvTranspose":
        groups = node.attributes["group"]
        split = wide.reshape(groups, -1, *weights.shape[1:])
        wide = (split * scale.reshape(groups, 1, -1, *[1] * (weights.ndim - 2))).reshape(weights.shape)
    else:
        wide = wide * (scale[:, None] if node.attributes.get("trans_b") else scale)
    return wide.astype(np.float32)
