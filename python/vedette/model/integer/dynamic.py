"""Convolutions whose input is rounded by a scale and zero point of its own each time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from vedette.model.graph import Array, Graph, Node, TensorType
from vedette.model.integer.form import WINDOW, by_output, node_weights
from vedette.model.integer.weights import QuantizedWeights
from vedette.model.passes.activations import activation_node
from vedette.model.rewriting import Editor, rewrite


def dynamic_convolutions(
    graph: Graph, weights: Mapping[str, QuantizedWeights], chosen: Collection[str]
) -> Graph:
    """Writes the convolutions by these weights in integers, as DynamicQuantizeLinear and ConvInteger mean it.

    The kernels know the zero point of their input beforehand, so that it is taken to be zero, the borders are
    filled with the real one, and ``zero_point * sum(w)`` is taken from the result of each channel.
    """

    def write(editor: Editor, node: Node) -> None:
        name = node.inputs[1] or "" if node.op == "Conv" else ""
        bias = editor.constant(node.input(2))
        if name not in chosen or (node.input(2) is not None and bias is None):
            return
        # Unsigned weights whose zero point is not in the middle may not fit eight signed bits.
        held = by_output(node, weights.get(name), 0) or node_weights(node, editor.graph.constants[name])
        if node.attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID"):
            _Writing(editor, node, held, bias).run()

    return rewrite(graph, write)


class _Writing:
    def __init__(self, editor: Editor, node: Node, weights: QuantizedWeights, bias: Array | None) -> None:
        self.editor, self.node, self.weights, self.bias = editor, node, weights, bias
        self.nodes: list[Node] = []

    def run(self) -> None:
        x, node = self.node.inputs[0] or "", self.node
        scale, zero_point = self._range(x)
        zero = self._add("Cast", [zero_point], "uint8", to="uint8")
        # Counted in steps first: rounding by a scale that is known beforehand is several times faster.
        counted = self._add("Add", [self._add("Div", [x, scale]), zero_point])
        unit = [self._number(1.0), self._constant(np.asarray(0, np.uint8))]
        q = self._add("QuantizeLinear", [counted, *unit], "uint8", axis=1)
        q = self._padded(q, zero)
        attributes = {name: node.attributes[name] for name in WINDOW if name in node.attributes}
        attributes |= {"x_zero_point": 0, "pads": [0] * (2 * self._rank)}
        operands = [q, self._constant(self.weights.integers), self._constant(self.weights.scale)]
        sums = self._add("QuantizedConv", operands, **attributes)
        y = self._add("Add", [self._add("Mul", [sums, scale]), self._offset(scale, zero_point)])
        residual, activation = node.input(3), node.attributes.get("activation")
        if residual is not None:
            y = self._add("Add", [y, residual])
        if activation:
            self.nodes.append(activation_node(y, node.output, activation, f"{node.label}:activation"))
        else:
            self.nodes[-1] = self.nodes[-1].changed(outputs=node.outputs)
        self.editor.replace([node], self.nodes, at=node)

    @property
    def _rank(self) -> int:
        return self.weights.integers.ndim - 2

    def _range(self, x: str) -> tuple[str, str]:
        """``scale = (max(x, 0) - min(x, 0)) / 255`` and ``round(-min(x, 0) / scale)``, both as float32."""
        none, steps = self._number(0.0), self._number(255.0)
        reduce: dict[str, Any] = {"keepdims": 0, "noop_with_empty_axes": 0}
        high = self._add("Max", [self._add("ReduceMax", [x], **reduce), none])
        low = self._add("Min", [self._add("ReduceMin", [x], **reduce), none])
        width = self._add("Div", [self._add("Sub", [high, low]), steps])
        # What is zero everywhere has no scale of its own.
        scale = self._add("Max", [width, self._number(float(np.finfo(np.float32).tiny))])
        counted = self._add("Round", [self._add("Div", [self._add("Neg", [low]), scale])])
        return scale, self._add("Min", [counted, steps])

    def _padded(self, q: str, zero: str) -> str:
        pads = list(self.node.attributes.get("pads") or [0] * (2 * self._rank))
        if not any(pads):
            return q
        amounts = [0, 0, *pads[: self._rank], 0, 0, *pads[self._rank :]]
        return self._add(
            "Pad", [q, self._constant(np.array(amounts, np.int64)), zero], "uint8", mode="constant"
        )

    def _offset(self, scale: str, zero_point: str) -> str:
        """``bias - zero_point * scale * sum(w)``, a number for each channel."""
        made = self.weights.integers.shape[0]
        shape = (1, made, *[1] * self._rank)
        sums = self.weights.integers.reshape(made, -1).sum(1, dtype=np.int64) * self.weights.scale
        unit = self._add("Mul", [scale, zero_point])
        offset = self._add("Mul", [unit, self._constant(-sums.astype(np.float32).reshape(shape))])
        if self.bias is None:
            return offset
        return self._add("Add", [offset, self._constant(self.bias.astype(np.float32).reshape(shape))])

    def _number(self, number: float) -> str:
        return self._constant(np.asarray(number, np.float32))

    def _constant(self, array: Array) -> str:
        return self.editor.add_constant(array, f"{self.node.label}:constant")

    def _add(self, op: str, inputs: list[str], dtype: str = "float32", **attributes: Any) -> str:
        name = self.editor.fresh(f"{self.node.label}:{op}")
        self.editor.set_type(name, TensorType(dtype))
        # The product keeps the name of the node that it is written for.
        label = self.node.label if op == "QuantizedConv" else name
        self.nodes.append(Node(op, tuple(inputs), (name,), attributes, label))
        return name
