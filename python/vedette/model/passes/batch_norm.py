"""Batch normalisation after a convolution or matrix product is part of its weights."""

from __future__ import annotations

import numpy as np

from vedette.model.graph import Graph, Node
from vedette.model.passes.weights import channels, fold_affine, weighted
from vedette.model.rewriting import Editor, rewrite


def fold_batch_norm(graph: Graph) -> Graph:
    """Folds ``scale (x - mean) / sqrt(variance + epsilon) + bias`` into the weights that make ``x``."""
    return rewrite(graph, _fold)


def _fold(editor: Editor, node: Node) -> None:
    if node.op != "BatchNormalization":
        return
    maker = weighted(editor, node.inputs[0])
    statistics = [editor.constant(value) for value in node.inputs[1:5]]
    if maker is None or len(statistics) != 4:
        return
    if maker.op == "MatMul" and editor.graph.type_of(node.inputs[0]).rank != 2:
        return
    wide = [array.astype(np.float64) for array in statistics if array is not None]
    if len(wide) != 4 or any(array.shape != (channels(editor, maker),) for array in wide):
        return
    scale, bias, mean, variance = wide
    factor = scale / np.sqrt(variance + node.attributes["epsilon"])
    fold_affine(editor, maker, factor, bias - mean * factor, node)
