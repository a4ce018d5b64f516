"""ONNX files: parsed, and checked before anything in them is believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from vedette.errors import InvalidModelError, UnsupportedModelError
from vedette.model.graph import Array, Dimension, TensorType
from vedette.model.onnx_tensors import FOUR_BITS, dtype_name, read_tensor

if TYPE_CHECKING:
    from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, ValueInfoProto

OLDEST_OPSET = 6

_MAX_FILE_BYTES = 2**31 - 1
_GRAPH_ATTRIBUTES = (5, 10)


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A node as it stands in the file, and the opset its operator is of."""

    proto: NodeProto
    opset: int


@dataclass(slots=True)
class Draft:
    """A model as it stands in the file: sound in structure, its operators not looked at yet."""

    inputs: dict[str, TensorType]
    outputs: tuple[str, ...]
    nodes: list[PlacedNode]
    constants: dict[str, Array]
    opset: int
    functions: dict[tuple[str, str], FunctionProto] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    name: str = ""
    four_bits: frozenset[str] = frozenset()
    """Constants that are int4 or uint4 in the file; here they are int8 or uint8."""


def read_file(path: str | Path) -> ModelProto:
    """Parses an ONNX file."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InvalidModelError(f"{path} is not a file")
        if size == 0:
            raise InvalidModelError(f"{path} is empty")
        if size > _MAX_FILE_BYTES:
            raise InvalidModelError(
                f"{path} has {size} bytes, an ONNX file at most 2 GiB; save it with external data"
            )
        data = path.read_bytes()
    except OSError as error:
        raise InvalidModelError(f"cannot read {path}: {error.strerror}") from None
    return parse(data, str(path))


def parse(data: bytes, name: str) -> ModelProto:
    """Parses the bytes of an ONNX file; ``name`` is how messages call it."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model: ModelProto = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise InvalidModelError(f"{name} is not an ONNX model, or it is damaged") from None
    if not model.HasField("graph") or not model.opset_import:
        raise InvalidModelError(f"{name} is not an ONNX model: it has no graph")
    if not all(isinstance(text, str) for text in _texts(model)):
        raise InvalidModelError(f"{name} is damaged: it has names that are not text")
    return model


def _texts(model: ModelProto) -> Iterator[object]:
    """Every name and note; protobuf gives the bytes of those that are not UTF-8."""
    graph = model.graph
    for node in chain(graph.node, *(function.node for function in model.functions)):
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name)
    for function in model.functions:
        yield from (function.domain, function.name, *function.input, *function.output)
        yield from chain(function.attribute, (attribute.name for attribute in function.attribute_proto))
    for tensor in graph.initializer:
        yield tensor.name
        yield from chain.from_iterable((entry.key, entry.value) for entry in tensor.external_data)
    for info in chain(graph.input, graph.output):
        yield info.name
        yield from (dimension.dim_param for dimension in info.type.tensor_type.shape.dim)
    yield from (entry.domain for entry in model.opset_import)
    yield from chain.from_iterable((entry.key, entry.value) for entry in model.metadata_props)
    yield graph.name


def draft(model: ModelProto, folder: Path | None) -> Draft:
    """Checks the structure of a model and takes it apart."""
    graph = model.graph
    opset = _opset(model)
    if graph.sparse_initializer:
        raise UnsupportedModelError(
            f"sparse tensor '{graph.sparse_initializer[0].values.name}' is not supported"
        )
    constants: dict[str, Array] = {}
    four_bits: set[str] = set()
    for tensor in graph.initializer:
        if not tensor.name or tensor.name in constants:
            raise InvalidModelError(f"two initializers are called '{tensor.name}'")
        constants[tensor.name] = read_tensor(tensor, folder, f"initializer '{tensor.name}'")
        if tensor.data_type in FOUR_BITS:
            four_bits.add(tensor.name)
    inputs: dict[str, TensorType] = {}
    for info in graph.input:
        if info.name in inputs or not info.name:
            raise InvalidModelError(f"two inputs are called '{info.name}'")
        if info.name not in constants:
            inputs[info.name] = _declared_type(info)
    nodes = []
    for node in graph.node:
        refuse_subgraphs(node)
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and len(node.output) == 1:
            name = node.output[0]
            if name in constants:
                raise InvalidModelError(f"value '{name}' is made twice")
            constants[name] = constant_value(node, folder)
            if any(attribute.t.data_type in FOUR_BITS for attribute in node.attribute):
                four_bits.add(name)
        else:
            nodes.append(PlacedNode(node, opset))
    outputs = tuple(info.name for info in graph.output)
    if not outputs:
        raise InvalidModelError("the graph has no outputs")
    return Draft(
        inputs=inputs,
        outputs=outputs,
        nodes=_in_order(nodes, {*inputs, *constants}, outputs),
        constants=constants,
        opset=opset,
        functions={(function.domain, function.name): function for function in model.functions},
        metadata={entry.key: entry.value for entry in model.metadata_props},
        folder=folder,
        name=graph.name,
        four_bits=frozenset(four_bits),
    )


def _opset(model: ModelProto) -> int:
    import onnx.defs

    newest = onnx.defs.onnx_opset_version()
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    opset = max(versions, default=newest)
    if opset > newest:
        raise UnsupportedModelError(
            f"the model is of opset {opset}, the installed onnx package knows {newest};"
            " upgrade it: pip install -U onnx"
        )
    return opset


def _declared_type(info: ValueInfoProto) -> TensorType:
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        raise UnsupportedModelError(f"input '{info.name}' is not a tensor ({kind or 'of no type'})")
    tensor = info.type.tensor_type
    dtype = dtype_name(tensor.elem_type, f"input '{info.name}'")
    if not tensor.HasField("shape"):
        return TensorType(dtype)
    shape: list[Dimension] = []
    for dimension in tensor.shape.dim:
        if dimension.WhichOneof("value") == "dim_value":
            # Exporters write -1 or 0 for a free dimension.
            shape.append(dimension.dim_value if dimension.dim_value > 0 else None)
        else:
            shape.append(dimension.dim_param or None)
    return TensorType(dtype, tuple(shape))


def refuse_subgraphs(node: NodeProto) -> None:
    if any(attribute.type in _GRAPH_ATTRIBUTES for attribute in node.attribute):
        raise UnsupportedModelError(f"{node.op_type} '{node.name or node.output[0]}' contains a subgraph")


def constant_value(node: NodeProto, folder: Path | None) -> Array:
    """The elements a Constant node makes."""
    import numpy as np

    where = f"Constant '{node.output[0]}'"
    if len(node.attribute) != 1:
        raise InvalidModelError(f"{where} has {len(node.attribute)} values, expected one")
    attribute: AttributeProto = node.attribute[0]
    match attribute.name:
        case "value":
            return read_tensor(attribute.t, folder, where)
        case "value_float":
            return np.asarray(attribute.f, np.float32)
        case "value_floats":
            return np.asarray(attribute.floats, np.float32)
        case "value_int":
            return np.asarray(attribute.i, np.int64)
        case "value_ints":
            return np.asarray(attribute.ints, np.int64)
        case other:
            raise UnsupportedModelError(f"{where} is given by {other}, which is not supported")


def _in_order(nodes: list[PlacedNode], known: set[str], outputs: tuple[str, ...]) -> list[PlacedNode]:
    """Sorts nodes so that values are made before they are used; refuses cycles and undefined names."""
    maker: dict[str, int] = {}
    for at, node in enumerate(nodes):
        for value in node.proto.output:
            if value and (value in maker or value in known):
                raise InvalidModelError(f"value '{value}' is made twice")
            if value:
                maker[value] = at
        if not any(node.proto.output):
            raise InvalidModelError(f"{node.proto.op_type} '{node.proto.name}' has no outputs")
    waiting: list[int] = []
    users: list[list[int]] = [[] for _ in nodes]
    for at, node in enumerate(nodes):
        makers = set()
        for value in node.proto.input:
            if value and value not in known:
                if value not in maker:
                    raise InvalidModelError(
                        f"{node.proto.op_type} '{node.proto.name or node.proto.output[0]}' reads '{value}',"
                        " which nothing makes"
                    )
                makers.add(maker[value])
        waiting.append(len(makers))
        for other in makers:
            users[other].append(at)
    for value in outputs:
        if value not in maker and value not in known:
            raise InvalidModelError(f"nothing makes the output '{value}'")
    return [nodes[at] for at in _schedule(nodes, waiting, users)]


def _schedule(nodes: list[PlacedNode], waiting: list[int], users: list[list[int]]) -> list[int]:
    from heapq import heapify, heappop, heappush

    ready = [at for at, count in enumerate(waiting) if count == 0]
    heapify(ready)
    order: list[int] = []
    while ready:
        at = heappop(ready)
        order.append(at)
        for user in users[at]:
            waiting[user] -= 1
            if waiting[user] == 0:
                heappush(ready, user)
    if len(order) < len(nodes):
        stuck = next(at for at, count in enumerate(waiting) if count)
        node = nodes[stuck].proto
        raise InvalidModelError(
            f"the graph has a cycle through {node.op_type} '{node.name or node.output[0]}'"
        )
    return order
