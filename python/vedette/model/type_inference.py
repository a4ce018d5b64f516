"""Element types and shapes of a model's values, as ONNX's own inference finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vedette.model.graph import Array, Dimension, TensorType
from vedette.model.onnx_file import Draft
from vedette.model.onnx_tensors import DTYPES

if TYPE_CHECKING:
    from onnx import TensorProto, TypeProto, ValueInfoProto

# Shapes, axes and the like are smaller; weights need not be copied only to learn their shape.
_MAX_ELEMENTS_NEEDED = 256


def infer_types(draft: Draft) -> dict[str, TypeProto]:
    """ONNX types of the values of a model; what cannot be inferred is absent."""
    import onnx
    from onnx import helper, shape_inference

    inputs = [_info(name, type_) for name, type_ in draft.inputs.items()]
    initializers = [_initializer(name, array) for name, array in draft.constants.items()]
    graph = helper.make_graph(
        [node.proto for node in draft.nodes],
        draft.name or "graph",
        inputs,
        [onnx.ValueInfoProto(name=name) for name in draft.outputs],
        initializers,
    )
    domains = {node.proto.domain for node in draft.nodes} - {"", "ai.onnx"}
    imports = [
        helper.make_opsetid("", draft.opset),
        *(helper.make_opsetid(domain, 1) for domain in sorted(domains)),
    ]
    model = helper.make_model(graph, opset_imports=imports, functions=list(draft.functions.values()))
    known: dict[str, TypeProto] = {info.name: info.type for info in inputs}
    known.update(
        {tensor.name: helper.make_tensor_type_proto(tensor.data_type, tensor.dims) for tensor in initializers}
    )
    try:
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    except (shape_inference.InferenceError, ValueError, RuntimeError):
        # A contradiction that matters will be met when the node is planned, with a better message.
        return known
    known.update({info.name: info.type for info in (*inferred.value_info, *inferred.output)})
    return known


def tensor_type(proto: TypeProto) -> TensorType:
    """What an ONNX type says."""
    tensor = proto.tensor_type
    dtype = DTYPES.get(tensor.elem_type)
    if not tensor.HasField("shape"):
        return TensorType(dtype)
    shape: list[Dimension] = []
    for dimension in tensor.shape.dim:
        kind = dimension.WhichOneof("value")
        shape.append(dimension.dim_value if kind == "dim_value" else dimension.dim_param or None)
    return TensorType(dtype, tuple(shape))


def _element_type(dtype: str) -> int:
    return next(number for number, name in DTYPES.items() if name == dtype)


def _info(name: str, type_: TensorType) -> ValueInfoProto:
    from onnx import helper

    return helper.make_tensor_value_info(name, _element_type(type_.dtype or "float32"), type_.shape)


def _initializer(name: str, array: Array) -> TensorProto:
    import onnx

    tensor = onnx.TensorProto(name=name, data_type=_element_type(array.dtype.name), dims=array.shape)
    if array.size <= _MAX_ELEMENTS_NEEDED:
        tensor.raw_data = array.tobytes()
    return tensor
