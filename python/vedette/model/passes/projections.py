"""The projections to queries, keys and values as one product: what they read is read, and rounded, once."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from vedette.model.graph import Graph, Node, TensorType
from vedette.model.rewriting import Editor

# Inputs that a value of each column, or the columns themselves, come by: their last axes are joined.
_BY_COLUMN = {"MatMul": (1, 2), "DynamicQuantizedMatMul": (1, 2, 3)}
_RESIDUAL = {"MatMul": 3, "DynamicQuantizedMatMul": 4}

Kind = tuple[object, ...]


def merge_projections(graph: Graph) -> Graph:
    """Joins products of one value with constants that attention reads the results of.

    Attention reads any strides, so that taking the joined result apart again moves nothing.
    """
    editor = Editor(graph)
    alike: dict[Kind, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        kind = _kind(editor, node)
        if kind is not None and _is_projection(editor, node.output):
            alike[kind].append(node)
    for nodes in alike.values():
        if len(nodes) > 1:
            _merge(editor, nodes)
    return editor.finish()


def _kind(editor: Editor, node: Node) -> Kind | None:
    """What products must share to be joined; None for nodes that cannot be."""
    by_column = _BY_COLUMN.get(node.op)
    shape = editor.graph.type_of(node.output).shape
    if by_column is None or shape is None or len(shape) < 2 or node.input(_RESIDUAL[node.op]) is not None:
        return None
    constants = [editor.constant(node.input(at)) for at in by_column]
    columns = shape[-1]
    if constants[0] is None or constants[0].ndim != 2 or constants[0].shape[1] != columns:
        return None
    for at, constant in zip(by_column[1:], constants[1:], strict=True):
        if node.input(at) is not None and (constant is None or constant.shape != (columns,)):
            return None
    given = tuple(node.input(at) is not None for at in by_column)
    attributes = tuple(sorted((name, str(value)) for name, value in node.attributes.items()))
    return node.op, node.inputs[0], len(constants[0]), given, attributes


def _is_projection(editor: Editor, value: str) -> bool:
    """Whether attention alone reads the value, through views of it."""
    while editor.used_once(value):
        (user,) = editor.users(value)
        if user.op == "ScaledDotProductAttention":
            return True
        if user.op not in ("Reshape", "Transpose") or user.inputs[0] != value:
            return False
        value = user.output
    return False


def _merge(editor: Editor, nodes: list[Node]) -> None:
    first = nodes[0]
    inputs = list(first.inputs)
    for at in _BY_COLUMN[first.op]:
        if first.input(at) is not None:
            parts = [editor.graph.constants[name] for node in nodes if (name := node.input(at)) is not None]
            inputs[at] = editor.add_constant(np.concatenate(parts, axis=-1), first.label)
    widths = [editor.graph.constants[name].shape[1] for node in nodes if (name := node.input(1)) is not None]
    joined = editor.fresh(first.label)
    known = editor.graph.type_of(first.output)
    assert known.shape is not None
    editor.set_type(joined, TensorType(known.dtype, (*known.shape[:-1], sum(widths))))
    product = first.changed(inputs=tuple(inputs), outputs=(joined,))
    sizes = editor.add_constant(np.array(widths, np.int64), f"{first.label} widths")
    outputs = tuple(node.output for node in nodes)
    split = Node("Split", (joined, sizes), outputs, {"axis": len(known.shape) - 1}, f"{first.label} split")
    editor.replace(nodes, [product, split], at=first)
