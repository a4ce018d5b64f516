"""Batch normalisation after a convolution or matrix product is part of its weights."""

from __future__ import annotations

import numpy as np

from vedette.model.graph import Graph, Node
from vedette.model.passes.weights import channels, fold_affine, weighted
from vedette.model.rewriting import Editor, rewrite


def fold_batch_norm(graph: Graph) -> Graph:
    """Folds ``scale (x - mean) / sqrt(variance + epsilon) + bias`` into the weights that make ``x``.

    Where nothing before can take it, it takes the scale and shift that follow, as Caffe models have them.
    """
    return rewrite(graph, _fold)


def _fold(editor: Editor, node: Node) -> None:
    if node.op in ("Mul", "Add"):
        _take_affine(editor, node)
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
    # A model whose variances are below zero computes NaN, folded or not.
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = scale / np.sqrt(variance + node.attributes["epsilon"])
    fold_affine(editor, maker, factor, bias - mean * factor, node)


def _take_affine(editor: Editor, node: Node) -> None:
    split = editor.constant_operand(node)
    normalization = editor.sole(split[0], "BatchNormalization") if split is not None else None
    if split is None or normalization is None:
        return
    scale, bias = (editor.constant(value) for value in normalization.inputs[1:3])
    rank = editor.graph.type_of(normalization.output).rank
    if scale is None or bias is None or rank is None or split[1].ndim > rank or scale.dtype != np.float32:
        return
    shape = (1,) * (rank - split[1].ndim) + split[1].shape
    if shape[1] not in (1, scale.size) or any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return
    by_channel = split[1].reshape(-1)
    if node.op == "Mul":
        scale, bias = scale * by_channel, bias * by_channel
    else:
        bias = bias + by_channel
    inputs = list(normalization.inputs)
    inputs[1] = editor.add_constant(scale.astype(np.float32), f"{normalization.label}:scale")
    inputs[2] = editor.add_constant(bias.astype(np.float32), f"{normalization.label}:bias")
    taken = normalization.changed(inputs=tuple(inputs), outputs=node.outputs)
    editor.replace([normalization, node], [taken], at=node)
