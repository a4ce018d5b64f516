"""Biases that cancel the mean error of rounded weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vedette.model.graph import Array, Graph, Node
from vedette.model.integer.calibration import Calibration
from vedette.model.integer.form import node_weights
from vedette.model.integer.operators import WEIGHTED, obstacle
from vedette.model.integer.weights import output_axis


def bias_corrections(graph: Graph, calibration: Calibration) -> dict[str, NDArray[np.float32]]:
    """What to add to the bias of each weighted node, by the value it makes.

    The mean of ``(w - rounded w) x`` over calibration: M. Nagel et al., "Data-Free Quantization Through
    Weight Equalization and Bias Correction", 2019.
    """
    found = {}
    for node in graph.nodes:
        seen = calibration.statistics.get(node.inputs[0] or "") if node.op in WEIGHTED else None
        if seen is None or seen.channels is None or obstacle(graph, node) is not None:
            continue
        weights = graph.constants[node.inputs[1] or ""]
        correction = _mean_error(node, weights, seen.channels.mean)
        if correction is not None:
            found[node.output] = correction.astype(np.float32)
    return found


def _mean_error(node: Node, weights: Array, mean: Array) -> Array | None:
    if node.op == "ConvTranspose":
        return None
    error = weights.astype(np.float64) - node_weights(node, weights).dequantize()
    if node.op == "MatMul":
        alpha = float(node.attributes.get("alpha") or 1.0)
        matrix = error.T if output_axis(node) == 0 else error
        return np.asarray(alpha * (mean @ matrix)) if mean.size == matrix.shape[0] else None
    groups = node.attributes.get("group", 1)
    if mean.size != weights.shape[1] * groups:
        return None
    by_tap = error.sum(tuple(range(2, error.ndim))).reshape(groups, -1, weights.shape[1])
    return np.asarray(np.einsum("goc,gc->go", by_tap, mean.reshape(groups, -1)).reshape(-1))
