"""Squeeze-and-excite: channels weighted by what their means say, as one operator."""

from __future__ import annotations

import numpy as np

from vedette.model.graph import Graph, Node
from vedette.model.rewriting import Editor, rewrite


def fuse_squeeze_excite(graph: Graph) -> Graph:
    """Finds ``x gate(W2 inner(W1 mean(x) + b1) + b2)``, and the same plus ``x``."""
    return rewrite(graph, _fuse)


def _fuse(editor: Editor, node: Node) -> None:
    if node.op == "Mul":
        _fuse_product(editor, node)
    elif node.op == "Add":
        _fuse_residual(editor, node)


def _fuse_product(editor: Editor, node: Node) -> None:
    for x, gate in (node.inputs, node.inputs[::-1]):
        excite = _pointwise(editor, gate)
        squeeze = _pointwise(editor, excite.inputs[0]) if excite is not None else None
        if x is None or excite is None or squeeze is None or not excite.attributes.get("activation"):
            continue
        mean = editor.sole(squeeze.inputs[0], "GlobalAveragePool", "ReduceMean")
        if mean is None or mean.inputs[0] != x or not _is_spatial_mean(editor, mean):
            continue
        inputs = (
            x,
            squeeze.inputs[1], _bias(editor, squeeze),
            excite.inputs[1], _bias(editor, excite),
        )  # fmt: skip
        attributes = {
            "inner": squeeze.attributes.get("activation"),
            "gate": excite.attributes["activation"],
            "residual": False,
        }
        fused = Node("SqueezeExcite", inputs, node.outputs, attributes, node.label)
        editor.replace([node, excite, squeeze, mean], [fused], at=node)
        return


def _fuse_residual(editor: Editor, node: Node) -> None:
    for x, product in (node.inputs, node.inputs[::-1]):
        maker = editor.sole(product, "SqueezeExcite")
        if maker is not None and maker.inputs[0] == x and not maker.attributes["residual"]:
            fused = maker.with_attributes(residual=True).changed(outputs=node.outputs)
            editor.replace([maker, node], [fused], at=node)
            return


def _pointwise(editor: Editor, value: str | None) -> Node | None:
    """A 1x1 convolution of images with constant weights, of which only the next node reads the result."""
    node = editor.sole(value, "Conv")
    weights = editor.constant(node.input(1)) if node is not None else None
    if (
        node is None
        or weights is None
        or weights.ndim != 4
        or weights.shape[2:] != (1, 1)
        or node.input(3) is not None
    ):
        return None
    attributes = node.attributes
    plain = attributes["group"] == 1 and not any(attributes.get("pads") or ())
    if not plain or any(stride != 1 for stride in attributes.get("strides") or ()):
        return None
    return node if node.input(2) is None or editor.constant(node.input(2)) is not None else None


def _bias(editor: Editor, node: Node) -> str:
    if node.input(2) is not None:
        return node.input(2) or ""
    weights = editor.graph.constants[node.inputs[1] or ""]
    return editor.add_constant(np.zeros(weights.shape[0], np.float32), f"{node.label}:bias")


def _is_spatial_mean(editor: Editor, node: Node) -> bool:
    if node.op == "GlobalAveragePool":
        return True
    axes = editor.constant(node.input(1))
    return (
        axes is not None
        and sorted(int(axis) % 4 for axis in axes) == [2, 3]
        and node.attributes["keepdims"] == 1
        and editor.graph.type_of(node.inputs[0]).rank == 4
    )
