"""Gemm is a matrix product with a bias."""

from __future__ import annotations

import numpy as np

from vedette.model.graph import Graph, Node, TensorType
from vedette.model.rewriting import Editor, rewrite


def lower_gemm(graph: Graph) -> Graph:
    """Writes ``alpha A' B' + beta C`` as MatMul with a bias, and a ``C`` that is no row as an addition."""
    return rewrite(graph, _lower)


def _lower(editor: Editor, node: Node) -> None:
    if node.op != "Gemm":
        return
    a, b, c = node.inputs[0], node.inputs[1], node.input(2)
    dtype = editor.graph.type_of(a).dtype or editor.graph.type_of(b).dtype or "float32"
    alpha, beta = node.attributes["alpha"], node.attributes["beta"]
    if dtype != "float32":
        _lower_plain(editor, node, dtype)
        return
    attributes = {
        "alpha": alpha,
        "trans_a": bool(node.attributes["transA"]),
        "trans_b": bool(node.attributes["transB"]),
        "activation": None,
    }
    bias = _bias(editor, node, c, beta)
    if c is None or beta == 0.0 or bias is not None:
        inputs = (a, b) if bias is None else (a, b, bias)
        editor.replace([node], [Node("MatMul", inputs, node.outputs, attributes, node.name)], at=node)
        return
    product = editor.fresh(f"{node.label}:product")
    editor.set_type(product, editor.graph.type_of(node.output))
    nodes = [Node("MatMul", (a, b), (product,), attributes, node.name)]
    nodes += _scaled_sum(editor, node, product, c, beta, dtype)
    editor.replace([node], nodes, at=node)


def _bias(editor: Editor, node: Node, c: str | None, beta: float) -> str | None:
    """A constant ``C`` that is one row, multiplied by beta."""
    constant = editor.constant(c)
    columns = editor.graph.type_of(node.inputs[1]).shape
    if constant is None or columns is None or len(columns) != 2:
        return None
    if constant.ndim > 2 or (constant.ndim == 2 and constant.shape[0] != 1):
        return None
    width = columns[0] if node.attributes["transB"] else columns[1]
    if not isinstance(width, int) or constant.size not in (1, width):
        return None
    row = np.broadcast_to(constant.reshape(-1), (width,)) * np.float32(beta)
    return editor.add_constant(np.ascontiguousarray(row, np.float32), f"{node.label}:bias")


def _lower_plain(editor: Editor, node: Node, dtype: str) -> None:
    nodes: list[Node] = []
    operands = []
    for value, flag in ((node.inputs[0], "transA"), (node.inputs[1], "transB")):
        if node.attributes[flag]:
            turned = editor.fresh(f"{node.label}:{flag}")
            editor.set_type(turned, TensorType(dtype))
            nodes.append(Node("Transpose", (value,), (turned,), {"perm": [1, 0]}, f"{node.label}:{flag}"))
            value = turned
        operands.append(value)
    c, beta = node.input(2), node.attributes["beta"]
    product = editor.fresh(f"{node.label}:product")
    editor.set_type(product, TensorType(dtype))
    nodes.append(Node("MatMul", tuple(operands), (product,), {}, node.name))
    if node.attributes["alpha"] != 1.0:
        factor = editor.add_constant(np.asarray(node.attributes["alpha"], dtype), f"{node.label}:alpha")
        scaled = editor.fresh(f"{node.label}:scaled")
        editor.set_type(scaled, TensorType(dtype))
        nodes.append(Node("Mul", (product, factor), (scaled,), {}, f"{node.label}:alpha"))
        product = scaled
    if c is None or beta == 0.0:
        nodes.append(Node("Identity", (product,), node.outputs, {}, f"{node.label}:result"))
    else:
        nodes += _scaled_sum(editor, node, product, c, beta, dtype)
    editor.replace([node], nodes, at=node)


def _scaled_sum(editor: Editor, node: Node, product: str, c: str, beta: float, dtype: str) -> list[Node]:
    nodes = []
    if beta != 1.0:
        factor = editor.add_constant(np.asarray(beta, dtype), f"{node.label}:beta")
        scaled = editor.fresh(f"{node.label}:c")
        editor.set_type(scaled, editor.graph.type_of(c))
        nodes.append(Node("Mul", (c, factor), (scaled,), {}, f"{node.label}:beta"))
        c = scaled
    return [*nodes, Node("Add", (product, c), node.outputs, {}, f"{node.label}:add")]
