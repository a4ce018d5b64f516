"""Operators that the engine lacks and that ONNX, or the model, defines by others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vedette.errors import InvalidModelError
from vedette.model.onnx_file import Draft, PlacedNode, constant_value, refuse_subgraphs
from vedette.model.type_inference import infer_types

if TYPE_CHECKING:
    from onnx import FunctionProto, NodeProto, TypeProto

_MAX_ROUNDS = 24
_MAX_NODES = 200_000


def expand(draft: Draft, is_native: Callable[[NodeProto], bool]) -> None:
    """Replaces, in place, every node that is not native and has a definition; nodes without one stay."""
    for round_ in range(_MAX_ROUNDS):
        types: dict[str, TypeProto] | None = None
        nodes: list[PlacedNode] = []
        changed = False
        for node in draft.nodes:
            if is_native(node.proto):
                nodes.append(node)
                continue
            body = draft.functions.get((node.proto.domain, node.proto.op_type))
            if body is None:
                schema = _schema(node)
                if schema is not None and schema.has_context_dependent_function and types is None:
                    types = infer_types(draft)
                body = _definition(schema, node, types or {}) if schema is not None else None
            if body is None:
                nodes.append(node)
                continue
            nodes.extend(
                _inline(draft, node, body, f"{node.proto.name or node.proto.output[0]}/{round_}.{len(nodes)}")
            )
            changed = True
            if len(nodes) > _MAX_NODES:
                raise InvalidModelError(f"the functions of the model expand to more than {_MAX_NODES} nodes")
        draft.nodes = nodes
        if not changed:
            return
    raise InvalidModelError(f"the functions of the model call each other more than {_MAX_ROUNDS} deep")


def _schema(node: PlacedNode) -> Any:
    import onnx.defs

    domain = "" if node.proto.domain == "ai.onnx" else node.proto.domain
    try:
        return onnx.defs.get_schema(node.proto.op_type, node.opset, domain)
    except onnx.defs.SchemaError:
        return None


def _definition(schema: Any, node: PlacedNode, types: dict[str, TypeProto]) -> FunctionProto | None:
    from onnx import FunctionProto

    body: FunctionProto
    if schema.has_function:
        versions = [version for version in schema.function_opset_versions if version <= node.opset]
        version = max(versions, default=min(schema.function_opset_versions))
        body = FunctionProto.FromString(schema.get_function_with_opset_version(version))
        return body
    if not schema.has_context_dependent_function:
        return None
    if any(name and name not in types for name in node.proto.input):
        return None
    versions = [
        version for version in schema.context_dependent_function_opset_versions if version <= node.opset
    ]
    version = max(versions, default=min(schema.context_dependent_function_opset_versions))
    inputs = [types[name].SerializeToString() if name else b"" for name in node.proto.input]
    data = schema.get_context_dependent_function_with_opset_version(
        version, node.proto.SerializeToString(), inputs
    )
    if not data:
        return None
    body = FunctionProto.FromString(data)
    return body


def _inline(draft: Draft, call: PlacedNode, body: FunctionProto, prefix: str) -> list[PlacedNode]:
    from onnx import NodeProto

    opset = max(
        (entry.version for entry in body.opset_import if entry.domain in ("", "ai.onnx")), default=call.opset
    )
    names = {"": ""}
    names.update(zip(body.input, list(call.proto.input) + [""] * len(body.input), strict=False))
    names.update(
        {inner: outer for inner, outer in zip(body.output, call.proto.output, strict=False) if outer}
    )
    given = {attribute.name: attribute for attribute in call.proto.attribute}
    defaults = {attribute.name: attribute for attribute in body.attribute_proto}
    schema = _schema(call)
    if schema is not None:
        defaults.update((name, formal.default_value) for name, formal in schema.attributes.items())
    result = []
    for at, node in enumerate(body.node):
        refuse_subgraphs(node)
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{prefix}/{node.name or node.op_type}{at}"
        for value in (*node.input, *node.output):
            names.setdefault(value, f"{prefix}/{value}")
        copy.input[:] = [names[value] for value in node.input]
        copy.output[:] = [names[value] for value in node.output]
        del copy.attribute[:]
        for attribute in node.attribute:
            if attribute.ref_attr_name:
                source = given.get(attribute.ref_attr_name) or defaults.get(attribute.ref_attr_name)
                if source is None or not source.name:
                    continue
                copy.attribute.add().CopyFrom(source)
                copy.attribute[-1].name = attribute.name
            else:
                copy.attribute.add().CopyFrom(attribute)
        if copy.op_type == "Constant" and copy.output[0] not in draft.outputs:
            draft.constants[copy.output[0]] = constant_value(copy, draft.folder)
        else:
            result.append(PlacedNode(copy, opset))
    return result
