"""Which operators have an integer form, and what it asks for."""

from __future__ import annotations

from functools import cache

import numpy as np

from vedette import _native
from vedette.model.graph import Graph, Node
from vedette.model.integer.activations import EPILOGUE_ACTIVATIONS

WEIGHTED = ("Conv", "ConvTranspose", "MatMul")
"""Products with constant weights: what integers make several times faster."""

MOVING = frozenset(
    {"DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Reshape", "Resize",
    "Slice",
     "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)  # fmt: skip
"""Operators that move or choose values: integers pass through them with scale and zero point unchanged."""

UNARY = frozenset(
    {"Abs", "Activation", "Ceil", "Clip", "Exp", "Floor", "Log", "Neg", "Reciprocal", "Round", "Sign", "Sqrt"}
)
"""Functions of one number: tables over the 256 values of their argument."""

BINARY = frozenset({"Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"})
"""Functions of two numbers: tables where one of them is a constant for all."""

FOLLOWING = MOVING | UNARY | BINARY | {"AveragePool", "Concat", "GlobalAveragePool", "SqueezeExcite"}
"""Operators that are done in integers where their neighbours are, and gain nothing by themselves."""


_OPERATOR = {
    op: f"Quantized{op}"
    for op in (*WEIGHTED, "Add", "AveragePool", "GlobalAveragePool", "Mul", "SqueezeExcite")
}


@cache
def _supported() -> frozenset[str]:
    return frozenset(_native.supported_operators())


def activation_inputs(graph: Graph, node: Node) -> list[str]:
    """The inputs of a node that integers would stand for: its float tensors that are not constant."""
    if node.op in WEIGHTED:
        chosen = [node.input(0), node.input(3)]
    elif node.op in MOVING or node.op == "SqueezeExcite":
        chosen = [node.input(0)]
    else:
        chosen = list(node.inputs)
    return [name for name in chosen if name is not None and name not in graph.constants]


def obstacle(graph: Graph, node: Node) -> str | None:
    """Why a node has no integer form whatever its neighbours, or None where it has one."""
    if node.op not in FOLLOWING and node.op not in WEIGHTED:
        return f"{node.op} has no integer form"
    written = _OPERATOR.get(node.op)
    if written is not None and written not in _supported():
        return f"the engine has no {written}"
    if node.op in WEIGHTED:
        return _weighted_obstacle(graph, node)
    if node.op != "Split" and len(node.outputs) > 1:
        return f"{node.op} has several outputs"
    if not all(graph.is_float32(name) for name in (*activation_inputs(graph, node), node.output)):
        return "it is not float32"
    if node.op == "Resize" and not (
        node.attributes.get("mode") in ("nearest", "linear")
        and node.attributes.get("coordinate_transformation_mode") != "tf_crop_and_resize"
        and not node.attributes.get("antialias")
    ):
        return "Resize has an integer form for nearest and linear only"
    if node.op == "Pad" and node.attributes.get("mode", "constant") == "constant":
        fill = graph.constants.get(node.input(2) or "")
        if node.input(2) is not None and fill is None:
            return "Pad is filled with a computed value"
    if node.op == "AveragePool" and node.attributes.get("dilations", None) not in (None, [1, 1]):
        return "AveragePool is dilated"
    if node.op in BINARY:
        return _binary_obstacle(graph, node)
    if node.op in UNARY and any(name is not None and name not in graph.constants for name in node.inputs[1:]):
        return f"{node.op} has computed parameters"
    return None


def is_table(graph: Graph, node: Node) -> bool:
    """Whether the node is a function of one number, whose integer form is a table."""
    if node.op in UNARY:
        return True
    return node.op in BINARY and any(_is_number(graph, name) for name in node.inputs)


def _weighted_obstacle(graph: Graph, node: Node) -> str | None:
    weights = graph.constants.get(node.input(1) or "")
    if weights is None:
        return "its weights are computed"
    if weights.dtype != np.float32 or not graph.is_float32(node.inputs[0]):
        return "it is not float32"
    if not np.isfinite(weights).all():
        return "its weights hold NaN or infinite values"
    bias = node.input(2)
    if bias is not None and (bias not in graph.constants or not np.isfinite(graph.constants[bias]).all()):
        return "its bias is computed or not finite"
    if node.op == "MatMul" and (weights.ndim != 2 or node.attributes.get("trans_a")):
        return "its weights are not one matrix, or its left side is transposed"
    if node.op == "MatMul" and bias is not None and graph.constants[bias].size != graph_columns(graph, node):
        return "its bias is not one row"
    if node.op == "ConvTranspose" and node.input(3) is not None:
        return "a transposed convolution in integers adds nothing"
    activation = node.attributes.get("activation")
    if activation and activation["kind"] not in EPILOGUE_ACTIVATIONS:
        return f"its activation {activation['kind']} is not split from it"
    return None


def graph_columns(graph: Graph, node: Node) -> int:
    """Columns of a matrix product with constant weights."""
    shape = graph.constants[node.inputs[1] or ""].shape
    return int(shape[0] if node.attributes.get("trans_b") else shape[1])


def _binary_obstacle(graph: Graph, node: Node) -> str | None:
    if any(_is_number(graph, name) for name in node.inputs) or node.op in ("Add", "Mul"):
        constants = [graph.constants[name] for name in node.inputs if name in graph.constants]
        if len(constants) == 2 or not all(np.isfinite(array).all() for array in constants):
            return "its constants are not finite"
        return None
    return f"{node.op} of two tensors has no integer form"


def _is_number(graph: Graph, name: str | None) -> bool:
    constant = graph.constants.get(name or "")
    return constant is not None and constant.size == 1
