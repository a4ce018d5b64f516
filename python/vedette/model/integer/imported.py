"""Models that come quantised: Q and DQ become scales of values, and weights stay the integers they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from vedette.errors import InvalidModelError
from vedette.model.graph import Array, Graph, Node, TensorType, scalar
from vedette.model.integer.activations import join_activations
from vedette.model.integer.blocks import BlockWeights, block_form, blocks_of, group_of
from vedette.model.integer.dynamic import dynamic_convolutions
from vedette.model.integer.form import Quantization, integer_form
from vedette.model.integer.operators import MOVING, obstacle
from vedette.model.integer.quantizer import prepare
from vedette.model.integer.tables import fuse_tables
from vedette.model.integer.weights import QuantizedWeights
from vedette.model.passes.constants import Evaluate
from vedette.model.passes.dead_code import remove_dead_code
from vedette.model.rewriting import Editor, rewrite
from vedette.quantization.parameters import Parameters

QUANTIZING = frozenset(
    {"ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QuantizeLinear"}
)
"""Operators that tell that a model came quantised."""


@dataclass(slots=True)
class Imported:
    """What the quantising nodes of a model said, and the float graph without them.

    Attributes
    ----------
    values
        Scale and zero point of values, as of uint8.
    weights
        Integers of the constants that they are the float form of.
    by_row
        Those of them that were multiplied with a left side quantised while the model runs.
    blocks
        Matrices with scales by block, the one or the other way round where either may be meant.
    """

    graph: Graph
    values: dict[str, Parameters] = field(default_factory=dict)
    weights: dict[str, QuantizedWeights] = field(default_factory=dict)
    by_row: set[str] = field(default_factory=set)
    blocks: dict[str, list[BlockWeights]] = field(default_factory=dict)


def is_quantized(graph: Graph) -> bool:
    """Whether a graph has nodes that quantise."""
    return any(node.op in QUANTIZING for node in graph.nodes)


def absorb(graph: Graph) -> Imported:
    """Takes the quantising nodes out of a graph; those that say nothing of uint8 or int8 stay."""
    return _Absorbing(rewrite(rewrite(graph, _dynamic), _spelled_out)).run()


def to_integers(imported: Imported, compiled: Graph, evaluate: Evaluate) -> Graph:
    """The compiled float graph in integers, with the scales that the model came with."""
    prepared = prepare(compiled)
    present = {name for node in prepared.nodes for name in (*node.inputs, *node.outputs)}
    values = {name: parameters for name, parameters in imported.values.items() if name in present}
    _spread(prepared, values)
    precisions = {
        node.output: "dynamic"
        for node in prepared.nodes
        if node.op == "MatMul" and node.inputs[1] in imported.by_row and obstacle(prepared, node) is None
    }
    for node in prepared.nodes:
        # Blocks have more scales than one for each column, which the static form could not keep.
        if (
            node.inputs
            and node.op == "MatMul"
            and node.inputs[1] in imported.blocks.keys() - imported.weights.keys()
        ):
            precisions[node.output] = "float32"
    plan = Quantization(values, precisions, imported.weights, exact=True)
    graph = fuse_tables(rewrite(integer_form(prepared, plan, evaluate), _cancel))
    graph = block_form(join_activations(graph), imported.blocks, frozenset())
    return remove_dead_code(dynamic_convolutions(graph, imported.weights, imported.by_row))


def _spread(graph: Graph, values: dict[str, Parameters]) -> None:
    """What moves values keeps their scale, where the model did not write it once more."""
    for node in graph.nodes:
        known = values.get(node.inputs[0] or "") if node.op in MOVING and len(node.outputs) == 1 else None
        if known is not None and obstacle(graph, node) is None:
            values.setdefault(node.output, known)


class _Absorbing:
    def __init__(self, graph: Graph) -> None:
        self.source = graph
        self.imported = Imported(graph.with_nodes([]))
        self.result = self.imported.graph
        # Integers of the source, as the float value that they stand for.
        self.meaning: dict[str, tuple[str, Parameters]] = {}
        self.names: dict[str, str] = {}

    def run(self) -> Imported:
        for node in self.source.nodes:
            inputs = tuple(self.names.get(name, name) if name is not None else None for name in node.inputs)
            node = node if inputs == node.inputs else node.changed(inputs=inputs)
            if not self._absorb(node):
                self.result.nodes.append(node)
        self._keep_outputs()
        self.imported.graph = remove_dead_code(self.result)
        return self.imported

    def _absorb(self, node: Node) -> bool:
        if node.op == "QuantizeLinear":
            self._quantize(node)
            return False
        if node.op == "DequantizeLinear":
            return self._dequantize(node)
        if node.op == "Transpose" and self._transpose(node):
            return True
        meaning = self.meaning.get(node.inputs[0] or "") if node.inputs else None
        if meaning is not None and (node.op in MOVING or node.op == "Concat"):
            return self._move(node, meaning)
        return False

    def _constants(self, node: Node) -> tuple[Array, Array] | None:
        """Scale and zero point of a node, checked; None where they are computed."""
        scale = self.source.constants.get(node.input(1) or "")
        zero_point = self.source.constants.get(node.input(2) or "")
        if scale is None or (node.input(2) is not None and zero_point is None):
            return None
        if scale.dtype == np.float32 and not (np.isfinite(scale).all() and (scale > 0).all()):
            raise InvalidModelError(f"{node.op} '{node.label}' has a scale of zero, below it, or not finite")
        return scale, np.zeros(scale.shape, np.uint8) if zero_point is None else zero_point

    def _parameters(self, node: Node) -> Parameters | None:
        """Of one scale for a tensor of bytes; signed ones are counted from 128 on."""
        found = self._constants(node)
        if found is None or node.attributes.get("block_size"):
            return None
        scale, zero_point = (scalar(part) for part in found)
        dtype = found[1].dtype
        if node.input(2) is None and node.op == "DequantizeLinear":
            dtype = np.dtype(self.source.type_of(node.inputs[0]).dtype or "uint8")
        if scale is None or zero_point is None or dtype not in (np.uint8, np.int8):
            return None
        return Parameters(scale, int(zero_point) + (128 if dtype == np.int8 else 0))

    def _quantize(self, node: Node) -> None:
        parameters, x = self._parameters(node), node.inputs[0] or ""
        if parameters is None or x in self.source.constants or not self.source.is_float32(x):
            return
        if self.imported.values.setdefault(x, parameters) == parameters:
            self.meaning[node.output] = (x, parameters)

    def _dequantize(self, node: Node) -> bool:
        x = node.inputs[0] or ""
        array = self.source.constants.get(x)
        if array is not None:
            return self._constant(node, array)
        meaning = self.meaning.get(x)
        parameters = self._parameters(node)
        if meaning is not None and meaning[1] == parameters:
            self.names[node.output] = meaning[0]
            return True
        if parameters is not None and self.source.type_of(x).dtype in ("uint8", "int8"):
            # The caller, or an operator on integers, gave it: exactly these values.
            self.imported.values[node.output] = parameters
        return False

    def _constant(self, node: Node, array: Array) -> bool:
        """Weights: their real numbers as a constant, and their integers beside it."""
        found = self._constants(node)
        if found is None or not self.source.is_float32(node.inputs[1]):
            return False
        scale, zero_point = found
        block = node.attributes.get("block_size") or 0
        axis = node.attributes.get("axis", 1)
        axis = axis + array.ndim if axis < 0 else axis
        if block:
            wide = [np.repeat(part, block, axis) for part in (scale, zero_point)]
            if any(part.ndim != array.ndim for part in wide):
                raise InvalidModelError(
                    f"DequantizeLinear '{node.label}' has scales of another rank than its input"
                )
            cut = tuple(slice(size) for size in array.shape)
            scale, zero_point = wide[0][cut], wide[1][cut]
        elif scale.size > 1:
            if not 0 <= axis < array.ndim or scale.size != array.shape[axis]:
                raise InvalidModelError(
                    f"DequantizeLinear '{node.label}' has {scale.size} scales along axis {axis}"
                )
            shape = [1] * array.ndim
            shape[axis] = -1
            scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
        elif scale.size == 1:
            scale, zero_point = scale.reshape(()), zero_point.reshape(())
        offset = array.astype(np.float32) - zero_point.astype(np.float32)
        real = (offset * scale).astype(np.float32)
        if real.shape != array.shape:
            raise InvalidModelError(f"DequantizeLinear '{node.label}' has scales that do not fit its input")
        self.result.constants[node.output] = real
        if array.dtype not in (np.int8, np.uint8):
            return True
        if node.attributes.get("by_row"):
            self.imported.by_row.add(node.output)
        if block:
            self._block(node.output, blocks_of(array, found[0], found[1], axis, block))
        elif offset.min(initial=0) >= -128 and offset.max(initial=0) <= 127:
            axis = axis if scale.size > 1 else 0
            count = array.shape[axis] if array.ndim else 1
            each = np.broadcast_to(scale.reshape(-1), (count,)).astype(np.float32)
            self.imported.weights[node.output] = QuantizedWeights(offset.astype(np.int8), each, axis)
        if array.ndim == 2 and not block and not node.attributes.get("by_row"):
            self._columns(node.output, array, scale, zero_point)
        return True

    def _block(self, name: str, blocks: BlockWeights | None) -> None:
        if blocks is not None:
            self.imported.blocks.setdefault(name, []).append(blocks)

    def _columns(self, name: str, array: Array, scale: Array, zero_point: Array) -> None:
        """A matrix with a scale for all or by column, as equal blocks: for products of floats."""
        for axis in (0, 1):
            # Scales that change along the axis that is summed over fit no block.
            if scale.ndim == 2 and scale.shape[axis] != 1:
                continue
            group = group_of(array.shape[axis])
            if group is not None:
                shape = list(array.shape)
                shape[axis] //= group
                each = [np.broadcast_to(part, shape) for part in (scale, zero_point)]
                self._block(name, blocks_of(array, each[0], each[1], axis, group))

    def _transpose(self, node: Node) -> bool:
        """A matrix turned around is the same integers turned around."""
        x, y = node.inputs[0] or "", node.output
        weights, blocks = self.imported.weights.get(x), self.imported.blocks.get(x)
        real = self.result.constants.get(x)
        if (weights is None and not blocks) or real is None or real.ndim != 2 or y in self.source.outputs:
            return False
        if list(node.attributes.get("perm") or [1, 0]) != [1, 0]:
            return False
        self.result.constants[y] = np.ascontiguousarray(real.T)
        if weights is not None:
            integers = np.ascontiguousarray(weights.integers.T)
            self.imported.weights[y] = QuantizedWeights(integers, weights.scale, 1 - weights.axis)
        for block in blocks or ():
            self._block(y, replace(block, by_row=not block.by_row))
        if x in self.imported.by_row:
            self.imported.by_row.add(y)
        return True

    def _move(self, node: Node, meaning: tuple[str, Parameters]) -> bool:
        """An operator that moves integers moves what they stand for just as well."""
        x, parameters = meaning
        inputs = list(node.inputs)
        if node.op == "Concat":
            others = [self.meaning.get(name or "") for name in inputs]
            if any(other is None or other[1] != parameters for other in others):
                return False
            inputs = [other[0] for other in others if other is not None]
        else:
            inputs[0] = x
            if node.op == "Pad" and (len(inputs) > 2 and inputs[2] is not None):
                fill = self.source.constants.get(inputs[2])
                if fill is None:
                    return False
                signed = 128 if fill.dtype == np.int8 else 0
                number = (int(fill.reshape(-1)[0]) + signed - parameters.zero_point) * parameters.scale
                name = f"{node.output}:fill"
                self.result.constants[name] = np.asarray(number, np.float32)
                inputs[2] = name
        outputs = tuple(f"{name}:real" for name in node.outputs)
        for name, made in zip(node.outputs, outputs, strict=True):
            self.result.types[made] = TensorType("float32", self.source.type_of(name).shape)
            self.imported.values[made] = parameters
            self.meaning[name] = (made, parameters)
        self.result.nodes.append(node.changed(inputs=tuple(inputs), outputs=outputs))
        # Who reads the integers themselves still finds them.
        if any(name in self.source.outputs for name in node.outputs):
            self.result.nodes.append(node)
        return True

    def _keep_outputs(self) -> None:
        """An output that was the float form of integers is handed on under its own name."""
        for name in self.source.outputs:
            if name in self.names:
                self.result.nodes.append(Node("Identity", (self.names[name],), (name,), {}, f"{name}:output"))
                self.imported.values[name] = self.imported.values[self.names[name]]


def _dynamic(editor: Editor, node: Node) -> None:
    """``Cast(MatMulInteger(quantised x, w)) * (x scale * w scale)`` is a float product."""
    if node.op != "Mul":
        return
    for value, factor in (node.inputs, node.inputs[::-1]):
        cast = editor.sole(value, "Cast")
        product = editor.sole(cast.inputs[0], "MatMulInteger", "ConvInteger") if cast is not None else None
        scales = editor.sole(factor, "Mul")
        split = editor.constant_operand(scales) if scales is not None else None
        if cast is None or product is None or scales is None or split is None:
            continue
        maker = editor.producer(product.inputs[0], "DynamicQuantizeLinear")
        integers = editor.constant(product.inputs[1])
        zero_point = editor.constant(product.input(3))
        if maker is None or integers is None or split[0] != maker.outputs[1]:
            continue
        if product.inputs[0] != maker.outputs[0] or product.input(2) != maker.outputs[2]:
            continue
        if product.input(3) is not None and zero_point is None:
            continue
        weights = _dequantized(editor, product, integers, split[1], zero_point)
        if weights is None:
            continue
        op = "MatMul" if product.op == "MatMulInteger" else "Conv"
        attributes = dict(product.attributes) if op == "Conv" else {}
        real = Node(op, (maker.inputs[0], weights), node.outputs, attributes, product.name)
        editor.replace([node, cast, scales, product], [real], at=node)
        return


def _dequantized(
    editor: Editor, product: Node, integers: Array, scale: Array, zero_point: Array | None
) -> str | None:
    """Adds a DequantizeLinear of the weights, which is absorbed like any other."""
    axis = 1 if product.op == "MatMulInteger" else 0
    if scale.size > 1 and (integers.ndim < 2 or scale.size != integers.shape[axis]):
        return None
    zero = np.zeros(scale.size, integers.dtype) if zero_point is None else zero_point.reshape(-1)
    if zero.size not in (1, scale.size):
        return None
    name = editor.fresh(f"{product.inputs[1]}:real")
    editor.set_type(name, TensorType("float32", integers.shape))
    flat = scale.reshape(-1).astype(np.float32)
    inputs = (
        product.inputs[1],
        editor.add_constant(flat, f"{name}:scale"),
        editor.add_constant(np.ascontiguousarray(np.broadcast_to(zero, flat.shape)), f"{name}:zero"),
    )
    dequantize = Node(
        "DequantizeLinear", inputs, (name,), {"axis": axis, "by_row": True}, f"{product.label}:weights"
    )
    editor.replace([product], [dequantize, product], at=product)
    return name


def _spelled_out(editor: Editor, node: Node) -> None:
    """``scale = (max(x, 0) - min(x, 0)) / 255``, as ONNX defines DynamicQuantizeLinear."""
    if node.op != "DynamicQuantizeLinear":
        return
    nodes: list[Node] = []

    def add(
        op: str, *inputs: str, dtype: str = "float32", output: str | None = None, **attributes: object
    ) -> str:
        name = output or editor.fresh(f"{node.label}:{op}")
        editor.set_type(name, TensorType(dtype))
        nodes.append(Node(op, inputs, (name,), attributes, name))
        return name

    x = node.inputs[0] or ""
    zero = editor.add_constant(np.asarray(0, np.float32), "zero")
    steps = editor.add_constant(np.asarray(255, np.float32), "steps")
    high = add("Max", add("ReduceMax", x, keepdims=0, noop_with_empty_axes=0), zero)
    low = add("Min", add("ReduceMin", x, keepdims=0, noop_with_empty_axes=0), zero)
    scale = add("Div", add("Sub", high, low), steps, output=node.outputs[1])
    counted = add("Round", add("Div", add("Sub", zero, low), scale))
    bounded = add("Min", add("Max", counted, zero), steps)
    zero_point = add("Cast", bounded, dtype="uint8", output=node.outputs[2], to="uint8")
    add("QuantizeLinear", x, scale, zero_point, dtype="uint8", output=node.outputs[0], axis=1)
    editor.replace([node], nodes, at=node)


def _cancel(editor: Editor, node: Node) -> None:
    """Integers made real and rounded with the same scale are the same integers."""
    if node.op != "QuantizeLinear":
        return
    maker = editor.producer(node.inputs[0], "DequantizeLinear")
    if maker is None or editor.graph.type_of(maker.inputs[0]).dtype != "uint8":
        return
    if not _same_parameters(editor.graph.constants, maker, node):
        return
    integers = maker.inputs[0] or ""
    if not editor.is_output(node.output):
        editor.replace([node], [], at=node)
        editor.redirect(node.output, integers)
        return
    # The caller asks for this name, so what makes the integers takes it over.
    source = editor.producer(integers)
    if source is not None and not editor.is_output(integers):
        editor.replace([node], [], at=node)
        outputs = tuple(node.output if name == integers else name for name in source.outputs)
        editor.replace([source], [source.changed(outputs=outputs)], at=source)
        editor.redirect(integers, node.output)


def _same_parameters(constants: Mapping[str, Array], one: Node, other: Node) -> bool:
    for at in (1, 2):
        a, b = constants.get(one.input(at) or ""), constants.get(other.input(at) or "")
        if a is None or b is None or a.dtype != b.dtype or not np.array_equal(a, b):
            return False
    return True
