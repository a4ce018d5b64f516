"""Operators of quantised models, ONNX's own and ONNX Runtime's, written with Q and DQ around floats.

``QLinearConv(x, ...)`` becomes ``QuantizeLinear(Conv(DequantizeLinear(x), ...))``: one form to recognise,
whoever quantised the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from vedette.errors import InvalidModelError, UnsupportedModelError
from vedette.model.graph import Array
from vedette.model.onnx_file import Draft, PlacedNode

if TYPE_CHECKING:
    from onnx import NodeProto

OWN_DOMAIN = "vedette"
"""Operators of the engine that no ONNX schema describes."""

_MICROSOFT = "com.microsoft"
# Recent enough for scales by channel, old enough that every operator used here means what it always did.
_OPSET = 13


def expand_qoperators(draft: Draft) -> None:
    """Replaces, in place, the operators that :data:`RULES` knows."""
    nodes: list[PlacedNode] = []
    for node in draft.nodes:
        proto = node.proto
        rule = RULES.get((proto.domain.replace("ai.onnx", ""), proto.op_type))
        if rule is None or _has_computed_parameters(draft, proto):
            nodes.append(node)
        else:
            expansion = _Expansion(draft, node)
            rule(expansion)
            nodes.extend(expansion.nodes)
    draft.nodes = nodes


def _has_computed_parameters(draft: Draft, proto: NodeProto) -> bool:
    """Whether scales, zero points or a bias are computed, which the engine's own operator takes."""
    places = _PARAMETERS.get(proto.op_type, ()) if proto.domain in ("", "ai.onnx") else ()
    given = (proto.input[at] for at in places if at < len(proto.input) and proto.input[at])
    return any(name not in draft.constants for name in given)


_PARAMETERS = {"QLinearConv": (1, 2, 4, 5, 6, 7, 8), "QLinearMatMul": (1, 2, 4, 5, 6, 7)}


class _Expansion:
    """One node being written as several."""

    def __init__(self, draft: Draft, node: PlacedNode) -> None:
        self.draft, self.proto, self.opset = draft, node.proto, node.opset
        self.nodes: list[PlacedNode] = []
        self.label = node.proto.name or node.proto.output[0]

    def input(self, at: int) -> str:
        return self.proto.input[at] if at < len(self.proto.input) else ""

    def attribute(self, name: str, default: float | int) -> float | int:
        from onnx import helper

        for attribute in self.proto.attribute:
            if attribute.name == name:
                value: float | int = helper.get_attribute_value(attribute)
                return value
        return default

    def constant(self, at: int, what: str) -> Array:
        array = self.draft.constants.get(self.input(at))
        if array is None:
            raise UnsupportedModelError(f"{self.proto.op_type} '{self.label}' has a computed {what}")
        return array

    def new_constant(self, array: Array, hint: str) -> str:
        name = f"{self.label}/{hint}"
        while name in self.draft.constants:
            name += "'"
        self.draft.constants[name] = array
        return name

    def add(self, op: str, inputs: list[str], hint: str, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        made = output or f"{self.label}/{hint}"
        node = helper.make_node(op, inputs, [made], name=f"{self.label}/{hint}", **attributes)
        self.nodes.append(PlacedNode(node, _OPSET))
        return made

    def padded(self, x: str, elements: int) -> str:
        """Zeros after the last axis."""
        from onnx import helper

        amounts = self.new_constant(np.array([0, elements], np.int64), "amounts")
        axes = self.new_constant(np.array([-1], np.int64), "axes")
        made = f"{self.label}/padded"
        node = helper.make_node("Pad", [x, amounts, "", axes], [made], name=made)
        # The first opset whose Pad names axes, so that the rank need not be known.
        self.nodes.append(PlacedNode(node, 18))
        return made

    def copy(self, op: str, inputs: list[str], hint: str, without: tuple[str, ...] = (), **more: Any) -> str:
        """A node with the attributes of the one replaced."""
        made = self.add(op, inputs, hint, **more)
        kept = [entry for entry in self.proto.attribute if entry.name not in without]
        self.nodes[-1].proto.attribute.extend(kept)
        return made

    def dequantized(self, at: int, axis: int = 0) -> str:
        """The real numbers of the input at this place, whose scale and zero point are the next two."""
        x, zero_point = self.input(at), self.input(at + 2)
        scale = self.scale(at + 1)
        inputs = [x, scale, zero_point] if zero_point else [x, scale]
        many = self.draft.constants.get(scale)
        axes: dict[str, Any] = {"axis": axis} if many is not None and many.size > 1 else {}
        return self.add("DequantizeLinear", inputs, f"real{at}", **axes)

    def scale(self, at: int) -> str:
        """The scale at this place, as float32: what is computed between two roundings is."""
        name = self.input(at)
        array = self.draft.constants.get(name)
        if array is None or array.dtype == np.float32:
            return name
        return self.new_constant(array.astype(np.float32), f"scale{at}")

    def quantize(self, value: str, at: int) -> None:
        """Gives the node's result: the value in integers of the scale and zero point at this place."""
        scale, zero_point = self.scale(at), self.input(at + 1)
        inputs = [value, scale, zero_point] if zero_point else [value, scale]
        self.add("QuantizeLinear", inputs, "quantized", self.proto.output[0])


def _bias(expansion: _Expansion, at: int, x_scale_at: int, w_scale_at: int) -> str:
    """A bias in units of both scales, as float32."""
    bias = expansion.constant(at, "bias").astype(np.float64)
    unit = expansion.constant(x_scale_at, "scale").astype(np.float64) * expansion.constant(
        w_scale_at, "scale"
    )
    return expansion.new_constant((bias * unit.reshape(-1)).astype(np.float32), "bias")


def _conv(expansion: _Expansion) -> None:
    inputs = [expansion.dequantized(0), expansion.dequantized(3)]
    if expansion.input(8):
        inputs.append(_bias(expansion, 8, 1, 4))
    expansion.quantize(expansion.copy("Conv", inputs, "conv"), 6)


def _matmul(expansion: _Expansion) -> None:
    inputs = [expansion.dequantized(0), expansion.dequantized(3, axis=1)]
    expansion.quantize(expansion.add("MatMul", inputs, "product"), 6)


def _gemm(expansion: _Expansion) -> None:
    transposed = bool(expansion.attribute("transB", 0))
    inputs = [expansion.dequantized(0), expansion.dequantized(3, axis=0 if transposed else 1)]
    if expansion.input(6):
        alpha = float(expansion.attribute("alpha", 1.0))
        bias = _bias(expansion, 6, 1, 4)
        expansion.draft.constants[bias] = (expansion.draft.constants[bias] * np.float32(alpha)).astype(
            np.float32
        )
        inputs.append(bias)
    product = expansion.copy("Gemm", inputs, "product")
    if expansion.input(7):
        expansion.quantize(product, 7)
    else:
        expansion.add("Identity", [product], "result", expansion.proto.output[0])


def _binary(op: str) -> Callable[[_Expansion], None]:
    def rule(expansion: _Expansion) -> None:
        inputs = [expansion.dequantized(0), expansion.dequantized(3)]
        expansion.quantize(expansion.add(op, inputs, "result"), 6)

    return rule


def _unary(op: str, *without: str) -> Callable[[_Expansion], None]:
    def rule(expansion: _Expansion) -> None:
        x = expansion.dequantized(0)
        expansion.quantize(expansion.copy(op, [x], "result", without), 3)

    return rule


def _pool(op: str) -> Callable[[_Expansion], None]:
    def rule(expansion: _Expansion) -> None:
        if expansion.attribute("channels_last", 0):
            raise UnsupportedModelError(f"{expansion.proto.op_type} '{expansion.label}' has channels last")
        _unary(op, "channels_last")(expansion)

    return rule


def _reduce_mean(expansion: _Expansion) -> None:
    x = expansion.dequantized(0)
    expansion.quantize(expansion.copy("ReduceMean", [x], "result"), 3)


def _concat(expansion: _Expansion) -> None:
    inputs = [expansion.dequantized(at) for at in range(2, len(expansion.proto.input), 3)]
    expansion.quantize(expansion.copy("Concat", inputs, "result"), 0)


def _dequantize(expansion: _Expansion) -> None:
    expansion.copy("DequantizeLinear", list(expansion.proto.input), "real", output=expansion.proto.output[0])


def _quantize(expansion: _Expansion) -> None:
    expansion.copy(
        "QuantizeLinear", list(expansion.proto.input), "quantized", output=expansion.proto.output[0]
    )


def _matmul_nbits(expansion: _Expansion) -> None:
    """A matrix in blocks of few bits, each with its scale, as the engine's own operator takes it."""
    bits, group = int(expansion.attribute("bits", 4)), int(expansion.attribute("block_size", 32))
    rows, columns = int(expansion.attribute("K", 0)), int(expansion.attribute("N", 0))
    blocks = -(-rows // max(group, 1))
    packed = expansion.constant(1, "matrix")
    if (
        bits not in (4, 8)
        or group < 16
        or expansion.input(4)
        or packed.size != columns * blocks * (group * bits // 8)
    ):
        raise UnsupportedModelError(
            f"MatMulNBits '{expansion.label}' has {bits} bits in blocks of {group}, or a group index"
        )
    scales = expansion.constant(2, "scale").astype(np.float32)
    if scales.size != columns * blocks or not np.isfinite(scales).all():
        raise InvalidModelError(
            f"MatMulNBits '{expansion.label}' has {scales.size} scales for {columns * blocks} blocks, "
            "or some that are not finite"
        )
    scales = scales.reshape(columns, blocks)
    missing = blocks * group - rows
    inputs = [
        expansion.padded(expansion.input(0), missing) if missing else expansion.input(0),
        expansion.new_constant(packed.reshape(columns, blocks, -1), "blocks"),
        expansion.new_constant(scales, "scales"),
        "",
        expansion.input(5),
    ]
    if expansion.input(3):
        inputs[3] = expansion.new_constant(_zero_points(expansion, bits, columns, blocks), "zero_points")
    while not inputs[-1]:
        inputs.pop()
    expansion.add(
        "BlockQuantizedMatMul", inputs, "product", expansion.proto.output[0],
        bits=bits, group_size=group, domain=OWN_DOMAIN,
    )  # fmt: skip


def _zero_points(expansion: _Expansion, bits: int, columns: int, blocks: int) -> Array:
    zeros = expansion.constant(3, "zero point")
    if zeros.dtype != np.uint8:
        raise UnsupportedModelError(f"MatMulNBits '{expansion.label}' has zero points that are not integers")
    if bits == 8:
        return zeros.reshape(columns, blocks)
    pairs = zeros.reshape(columns, -1)
    return np.stack([pairs & 15, pairs >> 4], -1).reshape(columns, -1)[:, :blocks].copy()


RULES: dict[tuple[str, str], Callable[[_Expansion], None]] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    (_MICROSOFT, "DequantizeLinear"): _dequantize,
    (_MICROSOFT, "MatMulNBits"): _matmul_nbits,
    (_MICROSOFT, "QGemm"): _gemm,
    (_MICROSOFT, "QLinearAdd"): _binary("Add"),
    (_MICROSOFT, "QLinearAveragePool"): _pool("AveragePool"),
    (_MICROSOFT, "QLinearConcat"): _concat,
    (_MICROSOFT, "QLinearGlobalAveragePool"): _pool("GlobalAveragePool"),
    (_MICROSOFT, "QLinearLeakyRelu"): _unary("LeakyRelu"),
    (_MICROSOFT, "QLinearMul"): _binary("Mul"),
    (_MICROSOFT, "QLinearReduceMean"): _reduce_mean,
    (_MICROSOFT, "QLinearSigmoid"): _unary("Sigmoid"),
    (_MICROSOFT, "QLinearSoftmax"): _unary("Softmax", "opset"),
    (_MICROSOFT, "QuantizeLinear"): _quantize,
}
"""How each operator is written with others."""
