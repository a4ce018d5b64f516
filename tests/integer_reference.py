"""The integer operators in NumPy, as their formulas say: the oracle that native ones are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vedette.model.graph import Array, Node


def requantize(f: Array, attributes: Mapping[str, Any], table: Array | None = None) -> Array:
    """``clamp(rint(f / y_scale) + y_zero_point, 0, 255)``, then the table; float32 without a scale."""
    if attributes.get("y_scale") is None:
        return f.astype(np.float32)
    inverse = np.float32(1.0) / np.float32(attributes["y_scale"])
    steps = np.rint(f.astype(np.float32) * inverse) + np.float32(attributes["y_zero_point"])
    y = np.clip(steps, 0, 255).astype(np.uint8)
    return y if table is None else table[y]


def dequantize(q: Array, attributes: Mapping[str, Any], side: str) -> Array:
    """The real numbers of an operand, by the scale and zero point that the node says."""
    offset = q.astype(np.float32) - np.float32(attributes[f"{side}_zero_point"])
    return offset * np.float32(attributes[f"{side}_scale"])


def _epilogue(node: Node, accumulator: Array, axis: int, operands: list[Any], table_at: int = 5) -> list[Any]:
    from onnx_graphs import activate

    _, _, multiplier, bias, residual, table = (operands + [None] * 6)[:6]
    if table_at == 4:
        residual, table = None, residual
    shape = [1] * accumulator.ndim
    shape[axis] = -1
    a = node.attributes
    # Counted in steps of the output, where there are such.
    step = 1.0 if a.get("y_scale") is None else float(np.float32(a["y_scale"]))

    def in_steps(real: Any) -> Array:
        most = np.finfo(np.float32).max
        return np.clip(np.asarray(real, np.float32).astype(np.float64) / step, -most, most).astype(np.float32)

    def multiply_add(x: Array, y: Array, z: Array) -> Array:
        """Rounded once: products of float32 are exact in float64."""
        return (x.astype(np.float32).astype(np.float64) * y + z).astype(np.float32)

    shift = np.zeros_like(multiplier) if bias is None else bias
    f = multiply_add(accumulator, in_steps(multiplier).reshape(shape), in_steps(shift).reshape(shape))
    if residual is not None:
        offset = residual.astype(np.float32) - np.float32(a["residual_zero_point"])
        f = multiply_add(offset, in_steps(a["residual_scale"]), f)
    if a.get("y_scale") is None:
        return [activate(a.get("activation"), f)]
    # Activations are bounds here: rounding keeps the order of values, so bytes are bounded.
    low, high = (
        activate(a.get("activation"), np.array(end, np.float32)) * np.float32(1 / step)
        for end in (-np.inf, np.inf)
    )
    low, high, y = (np.clip(np.rint(x) + np.float32(a["y_zero_point"]), 0, 255) for x in (low, high, f))
    y = np.clip(y, low, high).astype(np.uint8)
    return [y if table is None else table[y]]


def quantized_conv(node: Node, operands: list[Any]) -> list[Any]:
    """Sums of products of integers, exactly, by a loop over the taps of the kernel."""
    x, w = operands[:2]
    a = node.attributes
    rank, groups = w.ndim - 2, a.get("group", 1)
    strides, dilations = a.get("strides") or [1] * rank, a.get("dilations") or [1] * rank
    spans = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, w.shape[2:], strict=True)]
    pads = pads_of(a, x.shape[2:], spans, strides)
    padded = np.pad(
        x.astype(np.int64) - a["x_zero_point"],
        [(0, 0), (0, 0), *((pads[axis], pads[axis + rank]) for axis in range(rank))],
    )
    sizes = [(padded.shape[2 + axis] - spans[axis]) // strides[axis] + 1 for axis in range(rank)]
    batch, channels = x.shape[0], w.shape[0] // groups
    total = np.zeros((batch, w.shape[0], *sizes), np.int64)
    for tap in np.ndindex(*w.shape[2:]):
        window = tuple(
            slice(at * dilation, at * dilation + (size - 1) * stride + 1, stride)
            for at, dilation, size, stride in zip(tap, dilations, sizes, strides, strict=True)
        )
        values = padded[(slice(None), slice(None), *window)]
        for group in range(groups):
            rows = slice(group * channels, (group + 1) * channels)
            columns = slice(group * w.shape[1], (group + 1) * w.shape[1])
            kernel = w[(rows, slice(None), *tap)].astype(np.int64)
            total[:, rows] += np.moveaxis(np.tensordot(kernel, values[:, columns], (1, 1)), 0, 1)
    return _epilogue(node, total, 1, operands)


def pads_of(attributes: Mapping[str, Any], sizes: Any, spans: list[int], strides: list[int]) -> list[int]:
    """Explicit pads, or those that ``auto_pad`` means."""
    rank, kind = len(spans), attributes.get("auto_pad", "NOTSET")
    if kind in ("NOTSET", "VALID"):
        return list(attributes.get("pads") or [0] * 2 * rank) if kind == "NOTSET" else [0] * 2 * rank
    begins, ends = [], []
    for size, span, stride in zip(sizes, spans, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + span - size)
        begins.append(total // 2 if kind == "SAME_UPPER" else total - total // 2)
        ends.append(total - begins[-1])
    return begins + ends


def quantized_conv_transpose(node: Node, operands: list[Any]) -> list[Any]:
    """Every input spread over the window it reaches; only plain pads."""
    x, w = operands[:2]
    a = node.attributes
    rank, groups = w.ndim - 2, a.get("group", 1)
    strides, dilations = a.get("strides") or [1] * rank, a.get("dilations") or [1] * rank
    pads, extra = a.get("pads") or [0] * 2 * rank, a.get("output_padding") or [0] * rank
    sizes = [
        (x.shape[2 + axis] - 1) * strides[axis] + dilations[axis] * (w.shape[2 + axis] - 1) + 1 + extra[axis]
        for axis in range(rank)
    ]
    total = np.zeros((x.shape[0], w.shape[1] * groups, *sizes), np.int64)
    values = x.astype(np.int64) - a["x_zero_point"]
    inside = w.shape[0] // groups
    for tap in np.ndindex(*w.shape[2:]):
        window = tuple(
            slice(at * dilation, at * dilation + (size - 1) * stride + 1, stride)
            for at, dilation, size, stride in zip(tap, dilations, x.shape[2:], strides, strict=True)
        )
        for group in range(groups):
            rows = slice(group * inside, (group + 1) * inside)
            columns = slice(group * w.shape[1], (group + 1) * w.shape[1])
            kernel = w[(rows, slice(None), *tap)].astype(np.int64)
            product = np.moveaxis(np.tensordot(kernel, values[:, rows], (0, 1)), 0, 1)
            total[(slice(None), columns, *window)] += product
    inner = tuple(slice(pads[axis], total.shape[2 + axis] - pads[axis + rank]) for axis in range(rank))
    return _epilogue(node, total[(slice(None), slice(None), *inner)], 1, operands)


def quantized_matmul(node: Node, operands: list[Any]) -> list[Any]:
    a, b = operands[:2]
    total = (a.astype(np.int64) - node.attributes["a_zero_point"]) @ b.astype(np.int64)
    return _epilogue(node, total, -1, operands)


def dynamic_quantized_matmul(node: Node, operands: list[Any]) -> list[Any]:
    """Each row of the left side is quantised by itself over its range, widened to hold zero."""
    from onnx_graphs import activate

    a, b, scale, bias, residual = (operands + [None] * 5)[:5]
    low, high = np.minimum(a.min(-1, keepdims=True), 0), np.maximum(a.max(-1, keepdims=True), 0)
    step = ((high - low) / np.float32(255)).astype(np.float32)
    step = np.where(step > 0, step, np.float32(1))
    zero = np.clip(np.rint(-low / step), 0, 255)
    q = np.clip(np.rint(a / step) + zero, 0, 255)
    y = ((q - zero).astype(np.int64) @ b.astype(np.int64)).astype(np.float32) * step * scale
    y = y if bias is None else y + bias
    y = y if residual is None else y + residual
    return [activate(node.attributes.get("activation"), y.astype(np.float32))]


def quantized_add(node: Node, operands: list[Any]) -> list[Any]:
    f = dequantize(operands[0], node.attributes, "a") + dequantize(operands[1], node.attributes, "b")
    return [requantize(f, node.attributes, operands[2] if len(operands) > 2 else None)]


def quantized_mul(node: Node, operands: list[Any]) -> list[Any]:
    f = dequantize(operands[0], node.attributes, "a") * dequantize(operands[1], node.attributes, "b")
    return [requantize(f, node.attributes, operands[2] if len(operands) > 2 else None)]


def quantized_lookup(node: Node, operands: list[Any]) -> list[Any]:
    return [operands[1][operands[0]]]


def quantized_concat(node: Node, operands: list[Any]) -> list[Any]:
    a = node.attributes
    parts = [
        requantize((x.astype(np.float32) - np.float32(zero)) * np.float32(scale), a)
        for x, scale, zero in zip(operands, a["scales"], a["zero_points"], strict=True)
    ]
    return [np.concatenate(parts, a["axis"])]


def quantized_global_average_pool(node: Node, operands: list[Any]) -> list[Any]:
    x = dequantize(operands[0], node.attributes, "x")
    mean = x.mean(tuple(range(2, x.ndim)), keepdims=True, dtype=np.float64).astype(np.float32)
    return [requantize(mean, node.attributes)]


def quantized_average_pool(node: Node, operands: list[Any]) -> list[Any]:
    from onnx_graphs import run_plain

    x = dequantize(operands[0], node.attributes, "x")
    pool = {
        name: value for name, value in node.attributes.items() if not name.endswith(("_scale", "_zero_point"))
    }
    return [requantize(run_plain(Node("AveragePool", ("x",), ("y",), pool), [x])[0], node.attributes)]


def quantized_squeeze_excite(node: Node, operands: list[Any]) -> list[Any]:
    from onnx_graphs import squeeze_excite

    x = dequantize(operands[0], node.attributes, "x")
    return [requantize(squeeze_excite(node, [x, *operands[1:]])[0], node.attributes)]


def quantized_resize(node: Node, operands: list[Any]) -> list[Any]:
    from onnx_graphs import run_plain

    resized = run_plain(node.changed(op="Resize"), [operands[0].astype(np.float32), *operands[1:]])[0]
    return [np.clip(np.rint(resized), 0, 255).astype(np.uint8)]


def block_quantized_matmul(node: Node, operands: list[Any]) -> list[Any]:
    """Weights in groups along K: ``w = (q - zero_point) * scale``."""
    from onnx_graphs import activate

    a, b, scales, zero_points, bias = (operands + [None] * 5)[:5]
    bits = node.attributes["bits"]
    q = b if bits == 8 else np.stack([b & 15, b >> 4], -1).reshape(*b.shape[:-1], -1)
    zero = np.uint8(1 << (bits - 1)) if zero_points is None else zero_points[..., None]
    w = ((q.astype(np.float32) - np.float32(1) * zero) * scales[..., None]).reshape(b.shape[0], -1)
    y = a.astype(np.float32) @ w[:, : a.shape[-1]].T
    y = y if bias is None else y + bias
    return [activate(node.attributes.get("activation"), y.astype(np.float32))]


OPERATORS = {
    "BlockQuantizedMatMul": block_quantized_matmul,
    "DynamicQuantizedMatMul": dynamic_quantized_matmul,
    "QuantizedAdd": quantized_add,
    "QuantizedAveragePool": quantized_average_pool,
    "QuantizedConcat": quantized_concat,
    "QuantizedConv": quantized_conv,
    "QuantizedConvTranspose": quantized_conv_transpose,
    "QuantizedGlobalAveragePool": quantized_global_average_pool,
    "QuantizedLookup": quantized_lookup,
    "QuantizedMatMul": quantized_matmul,
    "QuantizedMul": quantized_mul,
    "QuantizedResize": quantized_resize,
    "QuantizedSqueezeExcite": quantized_squeeze_excite,
}
