"""Matrices in 4 or 8 bits with a scale for each block along the rows that are summed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vedette.model.graph import Array, Graph, Node
from vedette.model.rewriting import Editor

BLOCK = 32
"""Elements that share a scale, where it is for us to choose."""

_SHRINKS = np.linspace(1.0, 0.75, 11)


@dataclass(frozen=True, slots=True)
class BlockWeights:
    """``real[n, k] = (integers[n, k] - zero_points[n, k / group]) * scales[n, k / group]``."""

    integers: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.uint8]
    bits: int
    group: int

    def packed(self) -> NDArray[np.uint8]:
        """``[N, K / group, group * bits / 8]``, the first of two in the low bits."""
        blocks = self.integers.reshape(*self.scales.shape, self.group)
        if self.bits == 8:
            return blocks
        return np.ascontiguousarray(blocks[..., 0::2] | (blocks[..., 1::2] << 4))


def quantize_blocks(matrix: Array, bits: int = 4, group: int = BLOCK) -> BlockWeights:
    """Rounds a matrix ``[N, K]``; each block has the asymmetric range of the least squared error."""
    blocks = matrix.astype(np.float32).reshape(matrix.shape[0], -1, group)
    steps = (1 << bits) - 1
    low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
    best = np.full(low.shape, np.inf, np.float32)
    scale, zero = np.ones(low.shape, np.float32), np.zeros(low.shape, np.float32)
    for shrink in _SHRINKS:
        step = ((high - low) * np.float32(shrink / steps)).astype(np.float32)
        step = np.where(step > np.finfo(np.float32).tiny, step, np.float32(1))
        offset = np.clip(np.rint(-low * np.float32(shrink) / step), 0, steps).astype(np.float32)
        rounded = np.clip(np.rint(blocks / step[..., None]) + offset[..., None], 0, steps) - offset[..., None]
        error = ((rounded * step[..., None] - blocks) ** 2).sum(-1)
        better = error < best
        best = np.where(better, error, best)
        scale, zero = np.where(better, step, scale), np.where(better, offset, zero)
    integers = np.clip(np.rint(blocks / scale[..., None]) + zero[..., None], 0, steps)
    return BlockWeights(
        integers.reshape(matrix.shape).astype(np.uint8), scale, zero.astype(np.uint8), bits, group
    )


def can_block(graph: Graph, node: Node) -> bool:
    """Whether a node is a product with a constant matrix that divides into blocks."""
    weights = graph.constants.get(node.input(1) or "") if node.op == "MatMul" else None
    if weights is None or weights.ndim != 2 or weights.dtype != np.float32 or node.attributes.get("trans_a"):
        return False
    bias = node.input(2)
    rows = weights.shape[1] if node.attributes.get("trans_b") else weights.shape[0]
    return (
        rows % BLOCK == 0 and (bias is None or bias in graph.constants) and bool(np.isfinite(weights).all())
    )


def block_form(graph: Graph, known: Mapping[str, BlockWeights], chosen: frozenset[str]) -> Graph:
    """Writes float products with their weights in blocks: those known, by the constant, and nodes chosen."""

    def write(editor: Editor, node: Node) -> None:
        name = node.input(1)
        if node.op != "MatMul" or name is None or name not in graph.constants:
            return
        weights = known.get(name)
        array = graph.constants[name]
        if weights is None and node.output in chosen and can_block(graph, node):
            weights = quantize_blocks(array if node.attributes.get("trans_b") else array.T)
        if weights is not None and _fits(graph, node, weights):
            _replace(editor, node, weights)

    return Editor(graph).sweep(write)


def _fits(graph: Graph, node: Node, weights: BlockWeights) -> bool:
    array = graph.constants[node.inputs[1] or ""]
    columns, rows = array.shape if node.attributes.get("trans_b") else array.shape[::-1]
    bias = node.input(2)
    return (
        not node.attributes.get("trans_a")
        and weights.integers.shape == (columns, rows)
        and (bias is None or bias in graph.constants)
    )


def _replace(editor: Editor, node: Node, weights: BlockWeights) -> None:
    alpha = np.float32(node.attributes.get("alpha") or 1.0)
    residual, activation = node.input(3), node.attributes.get("activation")
    inputs: list[str | None] = [
        node.inputs[0],
        editor.add_constant(weights.packed(), f"{node.label}:blocks"),
        editor.add_constant(np.asarray(weights.scales * alpha, np.float32), f"{node.label}:scales"),
        editor.add_constant(weights.zero_points, f"{node.label}:zero_points"),
        node.input(2),
    ]
    if inputs[4] is None:
        inputs.pop()
    attributes = {"bits": weights.bits, "group_size": weights.group, "activation": activation}
    if residual is None:
        editor.replace(
            [node], [Node("BlockQuantizedMatMul", tuple(inputs), node.outputs, attributes, node.name)], node
        )
        return
    product, total = (editor.fresh(f"{node.label}:{part}") for part in ("product", "total"))
    for name in (product, total):
        editor.set_type(name, editor.graph.type_of(node.output))
    last = node.output if not activation else total
    nodes = [
        Node("BlockQuantizedMatMul", tuple(inputs), (product,), attributes | {"activation": None}, node.name),
        Node("Add", (product, residual), (last,), {}, f"{node.label}:residual"),
    ]
    if activation:
        nodes.append(
            Node("Activation", (total,), node.outputs, {"activation": activation}, f"{node.label}:activation")
        )
    editor.replace([node], nodes, at=node)
