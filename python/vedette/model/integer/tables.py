"""Functions of one number as tables over the 256 values of a uint8."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vedette.model.graph import UNKNOWN, Array, Graph, Node, TensorType
from vedette.model.passes.constants import Evaluate
from vedette.model.rewriting import Editor, rewrite
from vedette.quantization.parameters import Parameters

_TAKING = ("QuantizedConv", "QuantizedConvTranspose", "QuantizedMatMul", "QuantizedAdd", "QuantizedMul")
_TABLE_INPUT = {"QuantizedConv": 5, "QuantizedConvTranspose": 5, "QuantizedMatMul": 5}


def function_values(
    graph: Graph, node: Node, x: str, points: Array, evaluate: Evaluate
) -> NDArray[np.float32]:
    """A node's result for each of these numbers, as the engine computes it."""
    name = "points"
    inputs = tuple(name if value == x else value for value in node.inputs)
    constants = {value: graph.constants[value] for value in node.inputs if value in graph.constants and value}
    # Constants of one element may have a higher rank than a list of numbers.
    constants = {value: array.reshape(()) if array.size == 1 else array for value, array in constants.items()}
    constants[name] = np.ascontiguousarray(points, np.float32)
    lone = Graph((), ("values",), [node.changed(inputs=inputs, outputs=("values",))], constants, {})
    lone.types = {"values": TensorType("float32", (points.size,))} if node.op else {"values": UNKNOWN}
    return np.asarray(evaluate(lone)["values"], np.float32).reshape(-1)


def table(
    graph: Graph, node: Node, x: str, inside: Parameters, outside: Parameters, evaluate: Evaluate
) -> NDArray[np.uint8]:
    """What each integer of the argument becomes; values that are no number become zero."""
    points = inside.dequantize(np.arange(256, dtype=np.uint8))
    values = function_values(graph, node, x, points, evaluate)
    return outside.quantize(np.nan_to_num(values, nan=0.0))


def fuse_tables(graph: Graph) -> Graph:
    """Lets the node before a lookup look its result up while it is still in registers; joins two lookups."""
    return rewrite(graph, _fuse)


def _fuse(editor: Editor, node: Node) -> None:
    if node.op != "QuantizedLookup":
        return
    maker = editor.sole(node.inputs[0], *_TAKING, "QuantizedLookup")
    entries = editor.constant(node.inputs[1])
    if maker is None or entries is None:
        return
    if maker.op == "QuantizedLookup":
        first = editor.constant(maker.inputs[1])
        if first is None:
            return
        joined = editor.add_constant(entries[first], f"{node.label}:table")
        editor.replace([maker, node], [node.changed(inputs=(maker.inputs[0], joined))], at=node)
        return
    slot = _TABLE_INPUT.get(maker.op, 2)
    inputs = [*maker.inputs, *[None] * (slot + 1 - len(maker.inputs))]
    before = editor.constant(inputs[slot])
    if inputs[slot] is not None and before is None:
        return
    if before is not None:
        inputs[slot] = editor.add_constant(entries[before], f"{node.label}:table")
    else:
        inputs[slot] = node.inputs[1]
    editor.replace([maker, node], [maker.changed(inputs=tuple(inputs), outputs=node.outputs)], at=node)
