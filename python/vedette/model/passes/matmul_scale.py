"""A number that scales an operand or the result of a matrix product becomes its alpha."""

from __future__ import annotations

from vedette.model.graph import Graph, Node
from vedette.model.passes.products import number_beside
from vedette.model.rewriting import Editor, rewrite


def fold_matmul_scale(graph: Graph) -> Graph:
    """Moves Mul and Div by a number before or after a MatMul into it, as attention has them."""
    return rewrite(graph, _fold)


def _fold(editor: Editor, node: Node) -> None:
    if node.op == "MatMul" and editor.graph.is_float32(node.output):
        _fold_operands(editor, node)
    elif node.op in ("Mul", "Div"):
        scaling = _scaling(editor, node)
        product = editor.sole(scaling[0], "MatMul") if scaling is not None else None
        if scaling is None or product is None or not editor.graph.is_float32(product.output):
            return
        if any(value is not None for value in product.inputs[2:]) or product.attributes.get("activation"):
            return
        alpha = product.attributes.get("alpha", 1.0) * scaling[1]
        editor.replace(
            [product, node], [product.with_attributes(alpha=alpha).changed(outputs=node.outputs)], at=node
        )


def _fold_operands(editor: Editor, node: Node) -> None:
    for at in (0, 1):
        scale = editor.sole(node.inputs[at], "Mul", "Div")
        scaling = _scaling(editor, scale) if scale is not None else None
        if scale is None or scaling is None:
            continue
        inputs = (*node.inputs[:at], scaling[0], *node.inputs[at + 1 :])
        scaled = node.changed(inputs=inputs).with_attributes(
            alpha=node.attributes.get("alpha", 1.0) * scaling[1]
        )
        editor.replace([scale, node], [scaled], at=node)
        node = scaled


def _scaling(editor: Editor, node: Node) -> tuple[str, float] | None:
    """Reads a node as a number times a value."""
    split = editor.constant_operand(node)
    if split is None:
        return None
    number = number_beside(editor, *split)
    if number is None or (node.op == "Div" and (node.inputs[0] != split[0] or number == 0.0)):
        return None
    return split[0], 1.0 / number if node.op == "Div" else number
