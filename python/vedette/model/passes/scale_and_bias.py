"""A constant that scales or shifts a convolution or matrix product is part of its weights and bias."""

from __future__ import annotations

import numpy as np

from vedette.model.graph import Graph, Node
from vedette.model.passes.weights import fold_affine, per_channel, weighted
from vedette.model.rewriting import Editor, rewrite


def fold_scale_and_bias(graph: Graph) -> Graph:
    """Folds Add, Sub, Mul and Div with one constant for all or for each channel into what comes before."""
    return rewrite(graph, _fold)


def _fold(editor: Editor, node: Node) -> None:
    if node.op not in ("Add", "Sub", "Mul", "Div"):
        return
    split = editor.constant_operand(node)
    maker = weighted(editor, split[0]) if split is not None else None
    if split is None or maker is None:
        return
    x, constant = split
    number = per_channel(editor, maker, constant)
    if number is None:
        return
    constant_first = node.inputs[0] != x
    match node.op:
        case "Add":
            fold_affine(editor, maker, None, number, node)
        case "Mul":
            fold_affine(editor, maker, number, None, node)
        case "Sub":
            scale, shift = (-np.ones_like(number), number) if constant_first else (None, -number)
            fold_affine(editor, maker, scale, shift, node)
        case "Div":
            if not constant_first and number.all():
                fold_affine(editor, maker, 1.0 / number, None, node)
