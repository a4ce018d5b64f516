"""From an ONNX file to a graph: in the newest form, with every default filled in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedette.errors import InvalidModelError, UnsupportedModelError
from vedette.model import opset
from vedette.model.functions import expand
from vedette.model.graph import UNKNOWN, Array, Graph, Node, TensorType
from vedette.model.onnx_file import OLDEST_OPSET, Draft, PlacedNode, draft, read_file
from vedette.model.onnx_tensors import dtype_name, read_tensor
from vedette.model.passes.activations import ACTIVATIONS
from vedette.model.qoperator import OWN_DOMAIN, expand_qoperators
from vedette.model.type_inference import infer_types, tensor_type

if TYPE_CHECKING:
    from onnx import AttributeProto, ModelProto, NodeProto

QUANTIZING = frozenset({"ConvInteger", "DynamicQuantizeLinear", "MatMulInteger"})
"""Operators that the compiler writes with others."""

_ELEMENT_TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype"})


@dataclass(frozen=True, slots=True)
class Source:
    """A model as read: its graph, what its inputs and outputs are declared to be, and its notes."""

    graph: Graph
    metadata: dict[str, str]


def read(path: str | Path, supported: Collection[str], strict: bool = True) -> Source:
    """Reads an ONNX file.

    Parameters
    ----------
    supported : collection of str
        Operators the engine has; others are expanded to their definition, where they have one.
    strict : bool
        Whether operators that the engine lacks and that have no definition are refused; those that ONNX
        itself does not know always are.

    Raises
    ------
    InvalidModelError
        The file is missing, damaged, or contradicts itself.
    UnsupportedModelError
        The file is sound, but of an opset or with operators that cannot be read; each is named.
    """
    path = Path(path)
    return read_proto(read_file(path), supported, path.parent, strict)


def read_proto(
    model: ModelProto, supported: Collection[str], folder: Path | None = None, strict: bool = True
) -> Source:
    """Reads a parsed ONNX model; data outside of it is looked for in ``folder``."""
    known = frozenset(supported) | opset.LOWERED | ACTIVATIONS.keys() | QUANTIZING | {"Clip", "Gemm"}

    def is_native(node: NodeProto) -> bool:
        if node.domain == OWN_DOMAIN:
            return True
        several = node.op_type == "LayerNormalization" and len(node.output) > 1
        return node.domain in ("", "ai.onnx") and node.op_type in known and not several

    source = draft(model, folder)
    _refuse_four_bit_results(source)
    expand_qoperators(source)
    expand(source, is_native)
    _refuse_unknown(
        [node.proto for node in source.nodes if not (is_native(node.proto) or (not strict and _exists(node)))]
    )
    return Source(_Converter(source).graph(), source.metadata)


def _exists(node: PlacedNode) -> bool:
    import onnx.defs

    return node.proto.domain in ("", "ai.onnx") and onnx.defs.has(node.proto.op_type, node.opset)


def _refuse_four_bit_results(source: Draft) -> None:
    """Integers of 4 bits are read as constants; nothing makes them while a model runs."""
    for node in source.nodes:
        proto = node.proto
        zero_point = proto.input[2] if len(proto.input) > 2 else ""
        if proto.op_type == "QuantizeLinear" and zero_point in source.four_bits:
            raise UnsupportedModelError(
                f"QuantizeLinear '{proto.name or proto.output[0]}' rounds to 4 bits while the model runs"
            )
    for name in source.four_bits.intersection(source.outputs):
        raise UnsupportedModelError(
            f"output '{name}' has 4-bit elements, which the native engine does not have"
        )


def _refuse_unknown(nodes: list[NodeProto]) -> None:
    if nodes:
        raise UnsupportedModelError(
            unsupported_message(
                (f"{node.domain}::{node.op_type}".removeprefix("::"), node.name or node.output[0])
                for node in nodes
            )
        )


def unsupported_message(nodes: Any) -> str:
    """One line that names every node the engine cannot run."""
    named = [f"{op} '{name}'" for op, name in nodes]
    shown = ", ".join(named[:20]) + (f" and {len(named) - 20} more" if len(named) > 20 else "")
    return f"the native engine does not have {shown}"


class _Converter:
    """Turns the nodes of a draft into those of a graph, one by one."""

    def __init__(self, source: Draft) -> None:
        self.source = source
        self.constants = dict(source.constants)
        self.types = {name: tensor_type(proto) for name, proto in infer_types(source).items()}
        self.types.update(source.inputs)
        self.taken = {*self.types, *self.constants}
        self.taken.update(value for node in source.nodes for value in node.proto.output)
        self.count = 0

    def graph(self) -> Graph:
        nodes: list[Node] = []
        for node in self.source.nodes:
            for adapted in opset.adapt(self, self._node(node), node.opset):
                self._assume_type(adapted)
                nodes.append(_with_newest_defaults(adapted))
        return Graph(
            tuple(self.source.inputs),
            self.source.outputs,
            nodes,
            self.constants,
            self.types,
            self.source.name,
        )

    def constant(self, array: Array, hint: str) -> str:
        name = self.fresh(hint)
        self.constants[name] = array
        return name

    def constant_value(self, value: str | None) -> Array | None:
        return self.constants.get(value) if value is not None else None

    def fresh(self, hint: str, type_: TensorType = UNKNOWN) -> str:
        while True:
            self.count += 1
            name = f"{hint}@{self.count}"
            if name not in self.taken:
                break
        self.taken.add(name)
        if type_ is not UNKNOWN:
            self.types[name] = type_
        return name

    def type_of(self, value: str | None) -> TensorType:
        constant = self.constant_value(value)
        if constant is not None:
            return TensorType(constant.dtype.name, constant.shape)
        return self.types.get(value, UNKNOWN) if value is not None else UNKNOWN

    def _assume_type(self, node: Node) -> None:
        """Where inference found nothing, a result has the element type of its first operand, as most have."""
        if self.type_of(node.output).dtype is None and node.op not in _TYPE_CHANGING:
            self.types[node.output] = TensorType(
                self.type_of(node.input(0)).dtype, self.type_of(node.output).shape
            )

    def _node(self, placed: PlacedNode) -> Node:
        import onnx.defs

        proto = placed.proto
        if proto.domain == OWN_DOMAIN:
            return self._own_node(proto)
        label = f"{proto.op_type} '{proto.name or proto.output[0]}'"
        try:
            schema = onnx.defs.get_schema(proto.op_type, placed.opset, "")
        except onnx.defs.SchemaError:
            raise UnsupportedModelError(f"{label} does not exist in opset {placed.opset}") from None
        oldest = onnx.defs.get_schema(proto.op_type, max(placed.opset, OLDEST_OPSET), "")
        if schema.since_version != oldest.since_version:
            raise UnsupportedModelError(
                f"{label} is of opset {placed.opset}, {OLDEST_OPSET} is the oldest read"
            )
        inputs = [name or None for name in proto.input]
        outputs = list(proto.output)
        while inputs and inputs[-1] is None:
            inputs.pop()
        while outputs and not outputs[-1]:
            outputs.pop()
        _check_arity(schema, inputs, outputs, label)
        named = tuple(name or self.fresh(f"{label}:unused") for name in outputs)
        return Node(proto.op_type, tuple(inputs), named, self._attributes(schema, proto, label), proto.name)

    def _own_node(self, proto: NodeProto) -> Node:
        """A node that this package wrote itself."""
        from onnx import helper

        attributes = {entry.name: helper.get_attribute_value(entry) for entry in proto.attribute}
        inputs = tuple(name or None for name in proto.input)
        return Node(proto.op_type, inputs, tuple(proto.output), attributes, proto.name)

    def _attributes(self, schema: Any, proto: NodeProto, label: str) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        for attribute in proto.attribute:
            expected = schema.attributes.get(attribute.name)
            if expected is None:
                if schema.deprecated:
                    continue
                raise InvalidModelError(
                    f"{label} has an attribute '{attribute.name}', which its operator does not know"
                )
            if attribute.type != expected.type.value:
                raise InvalidModelError(f"attribute '{attribute.name}' of {label} is of the wrong type")
            if attribute.name in attributes:
                raise InvalidModelError(f"{label} has two attributes called '{attribute.name}'")
            attributes[attribute.name] = self._attribute(attribute, label)
        for name, expected in schema.attributes.items():
            if name not in attributes:
                if expected.required:
                    raise InvalidModelError(f"{label} lacks the attribute '{name}'")
                if expected.default_value.name:
                    attributes[name] = self._attribute(expected.default_value, label)
        return {name: value for name, value in attributes.items() if value is not None}

    def _attribute(self, attribute: AttributeProto, label: str) -> Any:
        where = f"attribute '{attribute.name}' of {label}"
        if attribute.name in _ELEMENT_TYPE_ATTRIBUTES and attribute.type == attribute.INT:
            return dtype_name(attribute.i, where) if attribute.i else None
        try:
            match attribute.type:
                case attribute.FLOAT:
                    return attribute.f
                case attribute.INT:
                    return attribute.i
                case attribute.STRING:
                    return attribute.s.decode()
                case attribute.FLOATS:
                    return list(attribute.floats)
                case attribute.INTS:
                    return list(attribute.ints)
                case attribute.STRINGS:
                    return [text.decode() for text in attribute.strings]
                case attribute.TENSOR:
                    return read_tensor(attribute.t, self.source.folder, where)
        except UnicodeDecodeError:
            raise InvalidModelError(f"{where} is not text") from None
        raise UnsupportedModelError(f"{where} is of a kind that is not supported")


_TYPE_CHANGING = frozenset(
    {"Cast", "Shape", "Size", "NonZero", "ArgMax", "ArgMin", "NonMaxSuppression", "IsNaN", "IsInf", "Equal",
     "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Where", "OneHot", "QuantizeLinear",
     "DequantizeLinear", "EyeLike"}
)  # fmt: skip


def _check_arity(schema: Any, inputs: list[str | None], outputs: list[str], label: str) -> None:
    if not schema.min_input <= len(inputs) <= schema.max_input:
        raise InvalidModelError(
            f"{label} has {len(inputs)} inputs, its operator {_range(schema.min_input, schema.max_input)}"
        )
    if not 1 <= len(outputs) <= schema.max_output:
        raise InvalidModelError(
            f"{label} has {len(outputs)} outputs, its operator at most {schema.max_output}"
        )
    for at, formal in enumerate(schema.inputs[: len(inputs)]):
        if formal.option.name == "Single" and inputs[at] is None:
            raise InvalidModelError(f"{label} lacks its input '{formal.name}'")


def _range(low: int, high: int) -> str:
    return f"takes {low}" if low == high else f"takes {low} to {high}"


def _with_newest_defaults(node: Node) -> Node:
    import onnx.defs
    from onnx import helper

    if not onnx.defs.has(node.op):
        return node
    missing = {}
    for name, attribute in onnx.defs.get_schema(node.op).attributes.items():
        if name not in node.attributes and attribute.default_value.name:
            value = helper.get_attribute_value(attribute.default_value)
            value = value.decode() if isinstance(value, bytes) else value
            if name not in _ELEMENT_TYPE_ATTRIBUTES and isinstance(value, (int, float, str, list)):
                missing[name] = value
    return node.with_attributes(**missing) if missing else node
