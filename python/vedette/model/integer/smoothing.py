"""Channels of normalised activations scaled so that no few of them take all the steps of a row.

What a layer normalisation makes is rounded row by row, with a scale that its largest channel sets. Its own
factors are divided by a number for each channel, and the matrices that read it are multiplied by it: G. Xiao
et al., "SmoothQuant", 2022.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vedette.model.graph import Array, Graph, Node
from vedette.model.integer.calibration import Calibration
from vedette.model.rewriting import Editor

_MOST = 64.0
_UNEVEN = 8.0
"""Activations are scaled where the largest channel reaches so many times as far as the middle one.

Where channels are alike there is nothing to gain, and weights would be rounded for nothing.
"""


def find_smoothing(graph: Graph, calibration: Calibration, alpha: float) -> dict[str, NDArray[np.float32]]:
    """What to divide the channels of layer normalisations by, by the value they make.

    Parameters
    ----------
    alpha
        How much the ranges of activations count: ``range^alpha / weights^(1 - alpha)`` is a channel's scale.
    """
    found = {}
    for node in graph.nodes:
        matrices = _matrices(Editor(graph), node)
        seen = calibration.statistics.get(node.output) if matrices else None
        if not matrices or seen is None or seen.channels is None:
            continue
        reached = np.maximum(np.abs(seen.channels.minimum), np.abs(seen.channels.maximum))
        middle = float(np.median(reached))
        if reached.size != matrices[0].shape[0] or not 0 < _UNEVEN * middle < reached.max():
            continue
        weighed = np.max([np.abs(matrix).max(1) for matrix in matrices], 0)
        known = (reached > 0) & (weighed > 0)
        scale = np.ones(reached.size)
        scale[known] = reached[known] ** alpha / weighed[known] ** (1 - alpha)
        bounded = np.clip(scale / np.median(scale), 1 / _MOST, _MOST)
        found[node.output] = bounded.astype(np.float16).astype(np.float32)
    return found


def smooth(graph: Graph, scales: Mapping[str, Array]) -> Graph:
    """Divides the factors of layer normalisations by these scales, and multiplies the matrices after them."""

    def rewrite(editor: Editor, node: Node) -> None:
        scale = scales.get(node.output) if node.op == "LayerNormalization" else None
        matrices = [] if scale is None else _matrices(editor, node)
        if scale is None or not matrices or matrices[0].shape[0] != scale.size:
            return
        factors = [
            None
            if name is None
            else editor.add_constant(
                (editor.graph.constants[name] / scale).astype(np.float32), f"{node.label}:smoothed"
            )
            for name in node.inputs[1:]
        ]
        for reader in editor.users(node.output):
            by_row = bool(reader.attributes.get("trans_b"))
            matrix = editor.graph.constants[reader.inputs[1] or ""]
            made = (matrix * (scale if by_row else scale[:, None])).astype(np.float32)
            name = editor.add_constant(made, f"{reader.label}:smoothed")
            inputs = (reader.inputs[0], name, *reader.inputs[2:])
            editor.replace([reader], [reader.changed(inputs=inputs)], at=reader)
        editor.replace([node], [node.changed(inputs=(node.inputs[0], *factors))], at=node)

    return Editor(graph).sweep(rewrite)


def _matrices(editor: Editor, node: Node) -> list[Array]:
    """The matrices ``[K, N]`` that read what a layer normalisation makes, where nothing else does."""
    if node.op != "LayerNormalization" or editor.is_output(node.output) or len(node.outputs) > 1:
        return []
    factors = [editor.constant(name) for name in node.inputs[1:] if name is not None]
    if not factors or any(factor is None or factor.ndim != 1 for factor in factors):
        return []
    found = []
    for reader in editor.users(node.output):
        matrix = editor.constant(reader.input(1))
        once = reader.inputs.count(node.output) == 1 and reader.inputs[0] == node.output
        if reader.op != "MatMul" or not once or matrix is None or matrix.ndim != 2:
            return []
        if matrix.dtype != np.float32 or reader.attributes.get("trans_a"):
            return []
        found.append(matrix.T if reader.attributes.get("trans_b") else matrix)
    return found
