"""The integer form of a graph: uint8 activations, int8 weights, one epilogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vedette.model.graph import Array, Graph, Node, TensorType
from vedette.model.integer.operators import (
    MOVING,
    WEIGHTED,
    activation_inputs,
    is_table,
    obstacle,
)
from vedette.model.integer.tables import table
from vedette.model.integer.weights import (
    QuantizedWeights,
    output_axis,
    quantize_weights,
    round_by_input,
)
from vedette.model.passes.constants import Evaluate
from vedette.quantization.parameters import Parameters

WINDOW = (
    "strides",
    "pads",
    "dilations",
    "group",
    "auto_pad",
    "kernel_shape",
    "output_padding",
    "output_shape",
)
"""Attributes of convolutions that their integer forms have too."""

_POOL = ("strides", "pads", "kernel_shape", "auto_pad", "ceil_mode", "count_include_pad", "dilations")


@dataclass(slots=True)
class Quantization:
    """What the integer form of a graph is made from.

    Attributes
    ----------
    values
        Scale and zero point of each value that is held in uint8.
    nodes
        Precision of weighted nodes, by the value they make, where it is not ``"int8"``: ``"float32"``,
        ``"bfloat16"``, or ``"dynamic"`` for matrix products whose left side is quantised row by row.
    weights
        Integers of weights by the name of the constant, where they are known beforehand.
    moments
        Mean and root mean square of the channels of values, which weights are rounded for.
    exact
        Whether a value held in uint8 is rounded for float readers too, as in a model that came quantised.
    """

    values: Mapping[str, Parameters]
    nodes: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, QuantizedWeights] = field(default_factory=dict)
    moments: Mapping[str, Array] = field(default_factory=dict)
    exact: bool = False


def integer_form(graph: Graph, quantization: Quantization, evaluate: Evaluate) -> Graph:
    """Writes every node whose activations are held in uint8 in its integer form; the others stay."""
    return _Lowering(graph, quantization, evaluate).run()


def is_integer(
    graph: Graph, node: Node, values: Mapping[str, Parameters], precision: str | None = None
) -> bool:
    """Whether a node is done in integers where these values are held in uint8."""
    if precision not in (None, "int8") or obstacle(graph, node) is not None:
        return False
    inputs = activation_inputs(graph, node)
    if not inputs or not all(name in values for name in inputs):
        return False
    if node.op in WEIGHTED or node.op in ("AveragePool", "GlobalAveragePool"):
        return True
    if not all(name in values for name in node.outputs):
        return False
    return node.op not in MOVING or all(values[name] == values[inputs[0]] for name in node.outputs)


class _Lowering:
    def __init__(self, graph: Graph, quantization: Quantization, evaluate: Evaluate) -> None:
        self.source = graph
        self.values = quantization.values
        self.plan = quantization
        self.evaluate = evaluate
        self.result = graph.with_nodes([])
        self.integers: dict[str, str] = {}
        self.floats: dict[str, str] = {name: name for name in (*graph.inputs, *graph.constants)}
        self.scalars: dict[tuple[str, float], str] = {}
        self.taken = {*graph.types, *graph.constants}

    def run(self) -> Graph:
        for node in self.source.nodes:
            if is_integer(self.source, node, self.values, self.plan.nodes.get(node.output)):
                self._integer(node)
            else:
                self._float(node)
        for name in self.source.outputs:
            if self.floats.get(name) != name:
                self._real(name)
        return self.result

    # values

    def _fresh(self, hint: str) -> str:
        name, count = hint, 1
        while name in self.taken:
            count += 1
            name = f"{hint}{count}"
        self.taken.add(name)
        return name

    def _constant(self, array: Array, hint: str) -> str:
        name = self._fresh(hint)
        self.result.constants[name] = array
        return name

    def _scalar(self, number: float, dtype: str) -> str:
        key = (dtype, number)
        if key not in self.scalars:
            self.scalars[key] = self._constant(np.asarray(number, dtype), f"{dtype}:{number:.9g}")
        return self.scalars[key]

    def _scale_and_zero(self, parameters: Parameters) -> tuple[str, str]:
        return self._scalar(parameters.scale, "float32"), self._scalar(parameters.zero_point, "uint8")

    def _add(
        self, op: str, inputs: list[str | None], outputs: tuple[str, ...], name: str, **attributes: Any
    ) -> None:
        while inputs and inputs[-1] is None:
            inputs.pop()
        kept = {key: value for key, value in attributes.items() if value is not None}
        self.result.nodes.append(Node(op, tuple(inputs), outputs, kept, name))

    def _new_integer(self, value: str) -> str:
        """The name of the tensor that holds a value in uint8."""
        name = self._fresh(f"{value}:u8")
        self.integers[value] = name
        self.result.types[name] = TensorType("uint8", self.source.type_of(value).shape)
        return name

    def _quantized(self, value: str) -> str:
        """A value in uint8: as made, a constant, or rounded here."""
        if value not in self.integers:
            parameters = self.values[value]
            source = self.floats[value]
            scale, zero_point = self._scale_and_zero(parameters)
            self._add(
                "QuantizeLinear",
                [source, scale, zero_point],
                (self._new_integer(value),),
                f"{value}:quantize",
                axis=1,
            )
        return self.integers[value]

    def _real(self, value: str) -> str:
        """A value in float32: as made, or what its integers stand for."""
        rounded = self.plan.exact and value in self.values and value not in self.source.constants
        if value in self.floats and not (rounded and value not in self.integers):
            return self.floats[value]
        integers = self._quantized(value)
        name = value if self.floats.get(value) is None else self._fresh(f"{value}:rounded")
        scale, zero_point = self._scale_and_zero(self.values[value])
        self._add("DequantizeLinear", [integers, scale, zero_point], (name,), f"{value}:dequantize", axis=1)
        self.result.types[name] = self.source.type_of(value)
        self.floats[value] = name
        return name

    # nodes

    def _float(self, node: Node) -> None:
        precision = self.plan.nodes.get(node.output)
        if precision == "dynamic" and node.op == "MatMul" and obstacle(self.source, node) is None:
            self._dynamic(node)
            return
        inputs = [
            None
            if name is None
            else self.integers.get(name, name)
            if node.op == "Shape"
            else self._real(name)
            for name in node.inputs
        ]
        outputs = []
        for name in node.outputs:
            # A value that everybody reads rounded leaves its name to the rounded one.
            made = self._fresh(f"{name}:float") if self.plan.exact and name in self.values else name
            if made != name:
                self.result.types[made] = self.source.type_of(name)
            outputs.append(made)
        made_node = node.changed(inputs=tuple(inputs), outputs=tuple(outputs))
        if precision == "bfloat16" and node.op in WEIGHTED:
            made_node = made_node.with_attributes(precision="bfloat16")
        self.result.nodes.append(made_node)
        for name, made in zip(node.outputs, outputs, strict=True):
            if made == name:
                self.floats[name] = name
            else:
                self._round(name, made)

    def _round(self, value: str, made: str) -> None:
        self.floats[value] = made
        self._quantized(value)
        del self.floats[value]

    def _integer(self, node: Node) -> None:
        if node.op in WEIGHTED:
            self._weighted(node)
        elif node.op == "Concat":
            self._concat(node)
        elif node.op in MOVING:
            self._moving(node)
        elif is_table(self.source, node):
            self._lookup(node)
        elif node.op in ("Add", "Mul"):
            self._binary(node)
        else:
            self._single(node)

    def _weights(self, node: Node) -> tuple[QuantizedWeights, Array | None]:
        """Integers and scales of a node's weights, a matrix as ``[K, N]``, and its bias."""
        name = node.inputs[1] or ""
        array = self.source.constants[name]
        axis = output_axis(node)
        known = by_output(node, self.plan.weights.get(name), axis)
        moments = self.plan.moments.get(node.inputs[0] or "")
        if known is None:
            known = node_weights(node, array, moments)
        integers, scale = known.integers, known.scale
        alpha = float(node.attributes.get("alpha") or 1.0) if node.op == "MatMul" else 1.0
        if node.op == "MatMul" and axis == 0:
            integers = np.ascontiguousarray(integers.T)
        scale = (scale.astype(np.float64) * alpha).astype(np.float32)
        bias = self.source.constants.get(node.input(2) or "")
        correction = None if moments is None else mean_error(node, array, known, moments)
        if bias is not None:
            bias = bias.astype(np.float32).reshape(-1)
        if correction is not None:
            bias = (correction if bias is None else bias + correction).astype(np.float32)
        return QuantizedWeights(integers, scale, known.axis), bias

    def _weighted(self, node: Node) -> None:
        weights, bias = self._weights(node)
        x, residual, y = node.inputs[0] or "", node.input(3), node.output
        inside = self.values[x]
        side = self.values[residual] if residual is not None else None
        multiplier = (np.float32(inside.scale) * weights.scale).astype(np.float32)
        attributes: dict[str, Any] = {
            "a_zero_point" if node.op == "MatMul" else "x_zero_point": inside.zero_point,
            "residual_scale": side.scale if side else None,
            "residual_zero_point": side.zero_point if side else None,
            "activation": node.attributes.get("activation") or None,
        }
        if node.op != "MatMul":
            attributes |= {name: node.attributes[name] for name in WINDOW if name in node.attributes}
        held = self.values.get(y)
        if held is not None:
            attributes |= {"y_scale": held.scale, "y_zero_point": held.zero_point}
        inputs = [
            self._quantized(x),
            self._constant(weights.integers, f"{node.label}:weights:s8"),
            self._constant(multiplier, f"{node.label}:multiplier"),
            None if bias is None else self._constant(bias, f"{node.label}:bias:f32"),
            None if residual is None else self._quantized(residual),
        ]
        op = {"Conv": "QuantizedConv", "ConvTranspose": "QuantizedConvTranspose", "MatMul": "QuantizedMatMul"}
        output = y if held is None else self._new_integer(y)
        self._add(op[node.op], inputs, (output,), node.label, **attributes)
        if held is None:
            self.floats[y] = y

    def _dynamic(self, node: Node) -> None:
        weights, bias = self._weights(node)
        residual = node.input(3)
        inputs = [
            self._real(node.inputs[0] or ""),
            self._constant(weights.integers, f"{node.label}:weights:s8"),
            self._constant(weights.scale, f"{node.label}:scale"),
            None if bias is None else self._constant(bias, f"{node.label}:bias:f32"),
            None if residual is None else self._real(residual),
        ]
        y = node.output
        rounded = self.plan.exact and y in self.values
        output = self._fresh(f"{y}:float") if rounded else y
        self._add(
            "DynamicQuantizedMatMul",
            inputs,
            (output,),
            node.label,
            activation=node.attributes.get("activation"),
        )
        if rounded:
            self.result.types[output] = self.source.type_of(y)
            self._round(y, output)
        else:
            self.floats[y] = y

    def _moving(self, node: Node) -> None:
        x = node.inputs[0] or ""
        parameters = self.values[x]
        inputs = [self._quantized(x), *node.inputs[1:]]
        op = node.op
        if op == "Resize" and node.attributes["mode"] == "linear":
            op = "QuantizedResize"
        elif op == "Pad" and node.attributes.get("mode", "constant") == "constant":
            fill = self.source.constants.get(node.input(2) or "")
            number = 0.0 if fill is None else float(fill.reshape(-1)[0])
            inputs += [None] * (3 - len(inputs))
            inputs[2] = self._scalar(int(parameters.quantize(np.array(number))), "uint8")
        outputs = tuple(self._new_integer(name) for name in node.outputs)
        self._add(op, inputs, outputs, node.label, **node.attributes)

    def _concat(self, node: Node) -> None:
        target = self.values[node.output]
        inputs: list[str | None] = []
        each = []
        for name in node.inputs:
            constant = self.source.constants.get(name or "")
            if constant is not None:
                inputs.append(self._constant(target.quantize(constant), f"{name}:u8"))
                each.append(target)
            else:
                inputs.append(self._quantized(name or ""))
                each.append(self.values[name or ""])
        output = (self._new_integer(node.output),)
        axis = node.attributes["axis"]
        if all(parameters == target for parameters in each):
            self._add("Concat", inputs, output, node.label, axis=axis)
            return
        self._add(
            "QuantizedConcat", inputs, output, node.label, axis=axis,
            scales=[parameters.scale for parameters in each],
            zero_points=[parameters.zero_point for parameters in each],
            y_scale=target.scale, y_zero_point=target.zero_point,
        )  # fmt: skip

    def _lookup(self, node: Node) -> None:
        (x,) = activation_inputs(self.source, node)
        entries = table(self.source, node, x, self.values[x], self.values[node.output], self.evaluate)
        constant = self._constant(entries, f"{node.label}:table")
        self._add(
            "QuantizedLookup", [self._quantized(x), constant], (self._new_integer(node.output),), node.label
        )

    def _binary(self, node: Node) -> None:
        inputs: list[str | None] = []
        attributes: dict[str, Any] = {}
        for side, name in zip("ab", node.inputs, strict=True):
            constant = self.source.constants.get(name or "")
            if constant is not None:
                parameters = Parameters.of_range(
                    float(constant.min(initial=0.0)), float(constant.max(initial=0.0))
                )
                inputs.append(self._constant(parameters.quantize(constant), f"{name}:u8"))
            else:
                parameters = self.values[name or ""]
                inputs.append(self._quantized(name or ""))
            attributes |= {f"{side}_scale": parameters.scale, f"{side}_zero_point": parameters.zero_point}
        target = self.values[node.output]
        attributes |= {"y_scale": target.scale, "y_zero_point": target.zero_point}
        self._add(f"Quantized{node.op}", inputs, (self._new_integer(node.output),), node.label, **attributes)

    def _single(self, node: Node) -> None:
        """Pools and squeeze-and-excite: one tensor in, one out, the rest as in float."""
        x, y = node.inputs[0] or "", node.output
        inside, target = self.values[x], self.values.get(y)
        attributes: dict[str, Any] = {"x_scale": inside.scale, "x_zero_point": inside.zero_point}
        if target is not None:
            attributes |= {"y_scale": target.scale, "y_zero_point": target.zero_point}
        if node.op == "AveragePool":
            attributes |= {name: node.attributes[name] for name in _POOL if name in node.attributes}
        elif node.op == "SqueezeExcite":
            attributes |= node.attributes
        inputs = [self._quantized(x), *node.inputs[1:]]
        output = y if target is None else self._new_integer(y)
        self._add(f"Quantized{node.op}", inputs, (output,), node.label, **attributes)
        if target is None:
            self.floats[y] = y


def by_output(node: Node, known: QuantizedWeights | None, axis: int) -> QuantizedWeights | None:
    """Weights that came with a model, if their scales are one for all or one for each output channel."""
    if known is None:
        return None
    scale = known.scale
    if known.axis != axis or scale.size != known.integers.shape[axis]:
        if scale.size == 0 or (scale != scale[0]).any():
            return None
        scale = np.full(known.integers.shape[axis], scale[0], np.float32)
    if node.op == "ConvTranspose":
        scale = np.tile(scale, node.attributes.get("group", 1))
    return QuantizedWeights(known.integers, scale, axis)


def node_weights(node: Node, weights: Array, moments: Array | None = None) -> QuantizedWeights:
    """Weights of a node in integers, rounded for the mean and root mean square of its input channels."""
    axis = output_axis(node)
    groups = node.attributes.get("group", 1)
    if node.op == "ConvTranspose" and groups > 1:
        # Output channels of a transposed convolution are counted within each group of input channels.
        parts = [quantize_weights(part, axis) for part in np.split(weights, groups, 0)]
        integers = np.concatenate([part.integers for part in parts], 0)
        return QuantizedWeights(integers, np.concatenate([part.scale for part in parts]), axis)
    rounded = quantize_weights(weights, axis)
    if node.op != "Conv" or moments is None or moments.shape != (2, weights.shape[1] * groups):
        return rounded
    return QuantizedWeights(round_by_input(weights, rounded.scale, moments, groups), rounded.scale, axis)


def mean_error(node: Node, weights: Array, rounded: QuantizedWeights, moments: Array) -> Array | None:
    """The mean of ``(w - rounded w) x`` for each output channel of a convolution, which a bias makes up for.

    M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019.
    """
    groups = node.attributes.get("group", 1)
    if node.op != "Conv" or moments.shape != (2, weights.shape[1] * groups):
        return None
    error = weights.astype(np.float64) - rounded.dequantize()
    by_tap = error.reshape(groups, -1, weights.shape[1], int(np.prod(weights.shape[2:]))).sum(3)
    made = np.einsum("goc,gc->go", by_tap, moments[0].reshape(groups, -1).astype(np.float64))
    return np.asarray(made.reshape(-1), np.float32)
