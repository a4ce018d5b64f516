"""Matrices in 4 or 8 bits with a scale for each block along the rows that are summed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vedette.model.graph import Array, Graph, Node
from vedette.model.rewriting import Editor

GROUPS = (128, 192, 96, 64, 32)
"""Elements that share a scale, where it is for us to choose: the first of these that divides a row.

Scale and zero point take 40 bits: with 32 elements a weight would take 5.3 bits, with 128 it takes 4.3.
"""

_SHRINKS = np.linspace(1.0, 0.75, 11)


@dataclass(frozen=True, slots=True)
class BlockWeights:
    """``real[n, k] = (integers[n, k] - zero_points[n, k / group]) * scales[n, k / group]``.

    ``by_row`` tells that the constant they stand for is ``[N, K]`` too, and not ``[K, N]``.
    """

    integers: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.uint8]
    bits: int
    group: int
    by_row: bool = False

    def packed(self) -> NDArray[np.uint8]:
        """``[N, K / group, group * bits / 8]``, the first of two in the low bits."""
        blocks = self.integers.reshape(*self.scales.shape, self.group)
        if self.bits == 8:
            return blocks
        return np.ascontiguousarray(blocks[..., 0::2] | (blocks[..., 1::2] << 4))


def group_of(depth: int) -> int | None:
    """Elements of a row of so many that share a scale, if some number that kernels take divides it."""
    return next((group for group in GROUPS if depth % group == 0), None)


def quantize_blocks(matrix: Array, bits: int = 4, group: int | None = None) -> BlockWeights:
    """Rounds a matrix ``[N, K]``; each block has the asymmetric range of the least squared error."""
    group = group or group_of(matrix.shape[1]) or matrix.shape[1]
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


def blocks_of(
    integers: Array, scales: Array, zero_points: Array, axis: int, group: int
) -> BlockWeights | None:
    """Integers of a matrix with scales and zero points by blocks along an axis, if a kernel takes them.

    Signed integers are counted from the least of them on; those that all fit are held in 4 bits.
    """
    if integers.ndim != 2 or group < 8 or group % 8 or group > 1 << 16 or integers.shape[axis] % group:
        return None
    by_row = axis == 1
    q, zero, scale = (part if by_row else part.T for part in (integers, zero_points, scales))
    expected = (q.shape[0], q.shape[1] // group)
    if scale.shape != expected or zero.shape != expected:
        return None
    least, greatest = (
        min(int(part.min(initial=0)) for part in (q, zero)),
        max(int(q.max(initial=0)), int(zero.max(initial=0))),
    )
    signed = integers.dtype == np.int8
    bits = 4 if (least >= -8 and greatest <= 7 if signed else greatest <= 15) else 8
    shift = (1 << (bits - 1)) if signed else 0
    return BlockWeights(
        np.ascontiguousarray(q.astype(np.int16) + shift, np.uint8),
        np.ascontiguousarray(scale, np.float32),
        np.ascontiguousarray(zero.astype(np.int16) + shift, np.uint8),
        bits,
        group,
        by_row,
    )


def can_block(graph: Graph, node: Node) -> bool:
    """Whether a node is a product with a constant matrix that divides into blocks."""
    weights = graph.constants.get(node.input(1) or "") if node.op == "MatMul" else None
    if weights is None or weights.ndim != 2 or weights.dtype != np.float32 or node.attributes.get("trans_a"):
        return False
    bias = node.input(2)
    rows = weights.shape[1] if node.attributes.get("trans_b") else weights.shape[0]
    return (
        group_of(rows) is not None
        and (bias is None or bias in graph.constants)
        and bool(np.isfinite(weights).all())
    )


def block_form(graph: Graph, known: Mapping[str, Sequence[BlockWeights]], chosen: frozenset[str]) -> Graph:
    """Writes float products with their weights in blocks: those known, by the constant, and nodes chosen."""

    def write(editor: Editor, node: Node) -> None:
        name = node.input(1)
        if node.op != "MatMul" or name is None or name not in graph.constants:
            return
        weights = next((blocks for blocks in known.get(name, ()) if _fits(graph, node, blocks)), None)
        array = graph.constants[name]
        if weights is None and node.output in chosen and can_block(graph, node):
            by_row = bool(node.attributes.get("trans_b"))
            weights = replace(quantize_blocks(array if by_row else array.T), by_row=by_row)
        if weights is not None:
            _replace(editor, node, weights)

    return Editor(graph).sweep(write)


def _fits(graph: Graph, node: Node, weights: BlockWeights) -> bool:
    bias = node.input(2)
    return (
        not node.attributes.get("trans_a")
        and weights.by_row == bool(node.attributes.get("trans_b"))
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
