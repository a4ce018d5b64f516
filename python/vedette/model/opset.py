"""Operators of older opsets, and operators that are only another's abbreviation, in the newest form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from vedette.errors import InvalidModelError, UnsupportedModelError
from vedette.model.graph import UNKNOWN, Array, Node, TensorType


class Builder(Protocol):
    """What an adapter needs of the graph being read."""

    def constant(self, array: Array, hint: str) -> str:
        """Adds a constant and returns its name."""
        ...

    def constant_value(self, value: str | None) -> Array | None:
        """The elements of a constant."""
        ...

    def fresh(self, hint: str, type_: TensorType = UNKNOWN) -> str:
        """A name no value has yet."""
        ...

    def type_of(self, value: str | None) -> TensorType:
        """What is known of a value."""
        ...


Adapter = Callable[[Builder, Node, int], list[Node]]

_BINARY = {"Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less"}
_REDUCE_LATE = {
    "ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2",
    "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare",
}  # fmt: skip


def adapt(builder: Builder, node: Node, opset: int) -> list[Node]:
    """Rewrites a node, read at this opset and with that opset's defaults, in the newest form."""
    if opset < 7 and node.op in _BINARY:
        return _old_broadcast(builder, node)
    if node.op in _REDUCE_LATE:
        return _attribute_to_input(builder, node, "axes") if opset < 18 else [node]
    adapter = _ADAPTERS.get(node.op)
    return adapter(builder, node, opset) if adapter else [node]


def _without(node: Node, *names: str) -> dict[str, Any]:
    return {name: value for name, value in node.attributes.items() if name not in names}


def _attribute_to_input(builder: Builder, node: Node, name: str, at: int = 1) -> list[Node]:
    """Moves an attribute of integers to an input, which is absent where the attribute was."""
    value = node.attributes.get(name)
    inputs: tuple[str | None, ...] = node.inputs[:at] + (None,) * (at - len(node.inputs))
    if value is not None:
        inputs += (builder.constant(np.atleast_1d(np.asarray(value, np.int64)), name),)
    return [node.changed(inputs=inputs, attributes=_without(node, name))]


def _old_broadcast(builder: Builder, node: Node) -> list[Node]:
    """Before opset 7 ``broadcast`` laid the second operand over the first from ``axis`` on."""
    a, b = node.inputs
    axis = node.attributes.get("axis")
    plain = node.changed(attributes=_without(node, "axis", "broadcast", "consumed_inputs"))
    if not node.attributes.get("broadcast") or axis is None:
        return [plain]
    rank_a, rank_b = builder.type_of(a).rank, builder.type_of(b).rank
    if rank_a is None or rank_b is None:
        raise UnsupportedModelError(
            f"{node.op} '{node.label}' broadcasts by axis over operands of unknown rank"
        )
    trailing = rank_a - rank_b - axis % rank_a
    if trailing == 0:
        return [plain]
    raised = builder.fresh(f"{b}:raised")
    axes = builder.constant(np.arange(rank_b, rank_b + trailing, dtype=np.int64), "axes")
    return [
        Node("Unsqueeze", (b, axes), (raised,), name=f"{node.label}:axes"),
        plain.changed(inputs=(a, raised)),
    ]


def _squeeze(builder: Builder, node: Node, opset: int) -> list[Node]:
    return _attribute_to_input(builder, node, "axes") if opset < 13 else [node]


def _split(builder: Builder, node: Node, opset: int) -> list[Node]:
    if opset < 13:
        (node,) = _attribute_to_input(builder, node, "split")
    if node.input(1) is None and node.attributes.get("num_outputs") is None:
        node = node.with_attributes(num_outputs=len(node.outputs))
    return [node]


def _clip(builder: Builder, node: Node, opset: int) -> list[Node]:
    if opset >= 11:
        return [node]
    dtype = np.dtype(builder.type_of(node.inputs[0]).dtype or "float32")
    limit = float(np.finfo(np.float32).max)
    low, high = node.attributes.get("min"), node.attributes.get("max")
    inputs = (
        node.inputs[0],
        None if low is None or low <= -limit else builder.constant(np.asarray(low, dtype), "min"),
        None if high is None or high >= limit else builder.constant(np.asarray(high, dtype), "max"),
    )
    return [node.changed(inputs=inputs, attributes={})]


def _pad(builder: Builder, node: Node, opset: int) -> list[Node]:
    if opset >= 11:
        return [node]
    dtype = np.dtype(builder.type_of(node.inputs[0]).dtype or "float32")
    pads = node.attributes.get("pads")
    if pads is None:
        raise InvalidModelError(f"Pad '{node.label}' has no pads")
    inputs = (
        node.inputs[0],
        builder.constant(np.asarray(pads, np.int64), "pads"),
        builder.constant(np.asarray(node.attributes.get("value", 0.0), dtype), "value"),
    )
    return [node.changed(inputs=inputs, attributes={"mode": node.attributes.get("mode", "constant")})]


def _slice(builder: Builder, node: Node, opset: int) -> list[Node]:
    if opset >= 10:
        return [node]
    starts, ends, axes = (node.attributes.get(name) for name in ("starts", "ends", "axes"))
    if starts is None or ends is None:
        raise InvalidModelError(f"Slice '{node.label}' has no starts or no ends")
    axes = axes if axes is not None else list(range(len(starts)))
    inputs = (
        node.inputs[0],
        *(
            builder.constant(np.asarray(value, np.int64), name)
            for value, name in ((starts, "starts"), (ends, "ends"), (axes, "axes"))
        ),
    )
    return [node.changed(inputs=inputs, attributes={})]


def _top_k(builder: Builder, node: Node, opset: int) -> list[Node]:
    return _attribute_to_input(builder, node, "k") if opset < 10 else [node]


def _prelu(builder: Builder, node: Node, opset: int) -> list[Node]:
    """Before opset 7 a slope of several elements was one for each channel."""
    x, slope = node.inputs
    rank, slope_type = builder.type_of(x).rank, builder.type_of(slope)
    if opset >= 7 or slope_type.shape == (1,):
        return [node]
    if rank is None or slope_type.rank != 1:
        raise UnsupportedModelError(f"PRelu '{node.label}' of an operand of unknown rank")
    raised = builder.fresh(f"{slope}:raised", TensorType(slope_type.dtype))
    axes = builder.constant(np.arange(1, rank - 1, dtype=np.int64), "axes")
    return [
        Node("Unsqueeze", (slope, axes), (raised,), name=f"{node.label}:slope"),
        node.changed(inputs=(x, raised)),
    ]


def _dropout(builder: Builder, node: Node, opset: int) -> list[Node]:
    ratio, training = builder.constant_value(node.input(1)), builder.constant_value(node.input(2))
    in_training = node.input(2) is not None and (training is None or bool(training.all()))
    if in_training and (ratio is None or float(ratio) != 0.0):
        raise UnsupportedModelError(f"Dropout '{node.label}' is in training mode")
    x = node.inputs[0]
    nodes = [Node("Identity", (x,), node.outputs[:1], name=node.name)]
    if len(node.outputs) > 1:
        shape = builder.fresh(f"{node.label}:shape", TensorType("int64"))
        true = builder.constant(np.asarray(True), "true")
        nodes.append(Node("Shape", (x,), (shape,), {"start": 0}, name=f"{node.label}:shape"))
        nodes.append(Node("Expand", (true, shape), node.outputs[1:2], name=f"{node.label}:mask"))
    return nodes


def _batch_normalization(builder: Builder, node: Node, opset: int) -> list[Node]:
    if opset < 9 and node.attributes.get("spatial", 1) != 1:
        raise UnsupportedModelError(f"BatchNormalization '{node.label}' with spatial=0")
    if node.attributes.get("training_mode", 0):
        raise UnsupportedModelError(f"BatchNormalization '{node.label}' is in training mode")
    return [
        node.changed(outputs=node.outputs[:1], attributes={"epsilon": node.attributes.get("epsilon", 1e-5)})
    ]


def _softmax(builder: Builder, node: Node, opset: int) -> list[Node]:
    """Before opset 13 the dimensions from ``axis`` on were one vector."""
    if opset >= 13:
        return [node]
    axis = node.attributes.get("axis", 1)
    type_ = builder.type_of(node.inputs[0])
    if axis == -1 or (type_.rank is not None and axis == type_.rank - 1):
        return [node.with_attributes(axis=-1)]
    shape, flat, result = (
        builder.fresh(f"{node.label}:{part}", TensorType(dtype))
        for part, dtype in (("shape", "int64"), ("flat", type_.dtype), ("result", type_.dtype))
    )
    return [
        Node("Shape", node.inputs, (shape,), {"start": 0}, name=f"{node.label}:shape"),
        Node("Flatten", node.inputs, (flat,), {"axis": axis}, name=f"{node.label}:flatten"),
        Node(node.op, (flat,), (result,), {"axis": -1}, name=node.name),
        Node("Reshape", (result, shape), node.outputs, {"allowzero": 1}, name=f"{node.label}:reshape"),
    ]


def _upsample(builder: Builder, node: Node, opset: int) -> list[Node]:
    if opset < 9:
        scales = node.attributes.get("scales")
        if scales is None:
            raise InvalidModelError(f"Upsample '{node.label}' has no scales")
        scales_input: str | None = builder.constant(np.asarray(scales, np.float32), "scales")
    else:
        scales_input = node.input(1)
    return [_resize_node(node, (node.inputs[0], None, scales_input), node.attributes.get("mode", "nearest"))]


def _resize_node(node: Node, inputs: tuple[str | None, ...], mode: str) -> Node:
    """Resize as it was before opset 11: output x comes from input x / scale, rounded down if nearest."""
    attributes = {
        "mode": mode,
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
        "cubic_coeff_a": -0.75,
        "exclude_outside": 0,
        "extrapolation_value": 0.0,
        "antialias": 0,
        "keep_aspect_ratio_policy": "stretch",
    }
    return Node("Resize", inputs, node.outputs, attributes, node.name)


def _resize(builder: Builder, node: Node, opset: int) -> list[Node]:
    if opset < 11:
        return [
            _resize_node(node, (node.inputs[0], None, node.input(1)), node.attributes.get("mode", "nearest"))
        ]
    inputs = [node.inputs[0], *(node.input(i) for i in (1, 2, 3))]
    for i in (1, 2, 3):
        array = builder.constant_value(inputs[i])
        if array is not None and array.size == 0:
            inputs[i] = None
    if node.attributes.get("coordinate_transformation_mode") != "tf_crop_and_resize":
        inputs[1] = None
    while inputs[-1] is None:
        inputs.pop()
    return [node.changed(inputs=tuple(inputs))]


def _fold_left(op: str) -> Adapter:
    """A variadic node as a chain of binary ones."""

    def adapter(builder: Builder, node: Node, opset: int) -> list[Node]:
        return _chain(builder, node, op, node.outputs[0])

    return adapter


def _chain(builder: Builder, node: Node, op: str, output: str) -> list[Node]:
    first, *rest = node.inputs
    if not rest:
        return [Node("Identity", (first,), (output,), name=node.name)]
    type_ = TensorType(builder.type_of(first).dtype)
    nodes = []
    for i, operand in enumerate(rest):
        last = i == len(rest) - 1
        result = output if last else builder.fresh(f"{node.label}:{i}", type_)
        name = node.name if last else f"{node.label}:{i}"
        nodes.append(Node(op, (first, operand), (result,), name=name))
        first = result
    return nodes


def _mean(builder: Builder, node: Node, opset: int) -> list[Node]:
    if len(node.inputs) == 1:
        return _chain(builder, node, "Add", node.outputs[0])
    type_ = TensorType(builder.type_of(node.inputs[0]).dtype)
    total = builder.fresh(f"{node.label}:sum", type_)
    count = builder.constant(np.asarray(len(node.inputs), np.dtype(type_.dtype or "float32")), "count")
    nodes = _chain(builder, node, "Add", total)
    return [*nodes, Node("Div", (total, count), node.outputs, name=f"{node.label}:mean")]


def _constant_of_shape(builder: Builder, node: Node, opset: int) -> list[Node]:
    value = node.attributes.get("value")
    value = np.zeros(1, np.float32) if value is None else value
    if value.size != 1:
        raise InvalidModelError(
            f"ConstantOfShape '{node.label}' has a value of {value.size} elements, expected 1"
        )
    return [
        Node(
            "Expand",
            (builder.constant(value.reshape(()), "value"), node.inputs[0]),
            node.outputs,
            name=node.name,
        )
    ]


def _scatter(builder: Builder, node: Node, opset: int) -> list[Node]:
    return [
        node.changed(
            op="ScatterElements", attributes={"axis": node.attributes.get("axis", 0), "reduction": "none"}
        )
    ]


def _roi_align(builder: Builder, node: Node, opset: int) -> list[Node]:
    return (
        [node.with_attributes(coordinate_transformation_mode="output_half_pixel")] if opset < 16 else [node]
    )


def _grid_sample(builder: Builder, node: Node, opset: int) -> list[Node]:
    modes = {"bilinear": "linear", "bicubic": "cubic"}
    mode = node.attributes.get("mode", "linear")
    return [node.with_attributes(mode=modes.get(mode, mode))]


def _group_normalization(builder: Builder, node: Node, opset: int) -> list[Node]:
    """Before opset 21 there was one scale and one bias a group, not a channel."""
    if opset >= 21:
        return [node]
    groups = node.attributes["num_groups"]
    shape = builder.type_of(node.inputs[0]).shape
    if shape is None or len(shape) < 2 or not isinstance(shape[1], int) or shape[1] % groups:
        raise UnsupportedModelError(f"GroupNormalization '{node.label}' of an unknown number of channels")
    each = builder.constant(np.asarray([1, shape[1] // groups], np.int64), "repeats")
    column = builder.constant(np.asarray([groups, 1], np.int64), "column")
    flat = builder.constant(np.asarray([shape[1]], np.int64), "channels")
    nodes, inputs = [], [node.inputs[0]]
    for value in node.inputs[1:]:
        type_ = TensorType(builder.type_of(value).dtype)
        raised, tiled, spread = (builder.fresh(f"{value}:{part}", type_) for part in ("2d", "tiled", "all"))
        nodes += [
            Node("Reshape", (value, column), (raised,), {"allowzero": 0}, name=f"{node.label}:column"),
            Node("Tile", (raised, each), (tiled,), name=f"{node.label}:tile"),
            Node("Reshape", (tiled, flat), (spread,), {"allowzero": 0}, name=f"{node.label}:spread"),
        ]
        inputs.append(spread)
    return [*nodes, node.changed(inputs=tuple(inputs))]


def _cast_like(builder: Builder, node: Node, opset: int) -> list[Node]:
    dtype = builder.type_of(node.input(1)).dtype
    if dtype is None:
        raise UnsupportedModelError(f"CastLike '{node.label}' to an unknown element type")
    return [node.changed(op="Cast", inputs=node.inputs[:1], attributes={**node.attributes, "to": dtype})]


_ADAPTERS: dict[str, Adapter] = {
    "BatchNormalization": _batch_normalization,
    "CastLike": _cast_like,
    "Clip": _clip,
    "ConstantOfShape": _constant_of_shape,
    "Dropout": _dropout,
    "GridSample": _grid_sample,
    "GroupNormalization": _group_normalization,
    "Hardmax": _softmax,
    "LogSoftmax": _softmax,
    "Max": _fold_left("Max"),
    "Mean": _mean,
    "Min": _fold_left("Min"),
    "PRelu": _prelu,
    "Pad": _pad,
    "ReduceSum": _squeeze,
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "Scatter": _scatter,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sum": _fold_left("Add"),
    "TopK": _top_k,
    "Unsqueeze": _squeeze,
    "Upsample": _upsample,
}

LOWERED = frozenset(
    {"CastLike", "Constant", "ConstantOfShape", "Dropout", "Mean", "Scatter", "Sum", "Upsample"}
)
"""Operators that never reach the engine: an adapter writes them as others."""
