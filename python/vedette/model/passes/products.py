"""Products of several factors, however they are nested: what patterns such as GELU are made of."""

from __future__ import annotations

from dataclasses import dataclass

from vedette.model.graph import Array, Node, scalar
from vedette.model.rewriting import Editor


@dataclass(slots=True)
class Product:
    """``factor`` times ``values``, made by ``nodes``, of which nothing else uses the results."""

    factor: float
    values: list[str]
    nodes: list[Node]


def product_of(editor: Editor, node: Node) -> Product:
    """Takes a tree of Mul, and of Div by a number, apart."""
    product = Product(1.0, [], [])
    _collect(editor, node, product)
    return product


def linear_of(editor: Editor, value: str | None) -> tuple[str, float, list[Node]] | None:
    """Reads ``value`` as a number times another value: that value, the number, and the nodes between."""
    if value is None:
        return None
    node = editor.sole(value, "Mul", "Div")
    if node is None:
        return value, 1.0, []
    product = product_of(editor, node)
    if len(product.values) != 1:
        return value, 1.0, []
    return product.values[0], product.factor, product.nodes


def plus_number(editor: Editor, value: str | None) -> tuple[str, float, Node] | None:
    """Reads ``value`` as another value plus a number: that value, the number, and the node."""
    node = editor.sole(value, "Add")
    split = editor.constant_operand(node) if node is not None else None
    if node is None or split is None or number_beside(editor, split[0], split[1]) is None:
        return None
    return split[0], float(split[1].reshape(-1)[0]), node


def number_beside(editor: Editor, value: str | None, constant: Array | None) -> float | None:
    """The number in a constant of one element that does not raise the rank of the value beside it."""
    number = scalar(constant)
    if number is None or constant is None or constant.ndim == 0:
        return number
    rank = editor.graph.type_of(value).rank
    return number if rank is not None and constant.ndim <= rank else None


def _collect(editor: Editor, node: Node, product: Product) -> None:
    product.nodes.append(node)
    for at, value in enumerate(node.inputs):
        if value is None:
            continue
        other = node.inputs[1 - at]
        number = number_beside(editor, other, editor.constant(value))
        divides = node.op == "Div" and at == 1
        if number is not None and (not divides or number != 0.0):
            product.factor = product.factor / number if divides else product.factor * number
            continue
        inner = editor.sole(value, "Mul", "Div") if not divides else None
        if inner is not None and (inner.op == "Mul" or editor.scalar(inner.inputs[1])):
            _collect(editor, inner, product)
        else:
            product.values.append(f"1/{value}" if divides else value)
