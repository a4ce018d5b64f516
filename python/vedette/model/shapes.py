"""Shapes in symbols: enough algebra to prove that two values always have the same shape.

A size is a product of a number and symbols. The sizes of inputs are symbols, and so is every size that is
not a product of others, such as that of a strided convolution; the same formula of the same sizes is the same
symbol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from vedette.model.graph import Graph, Node


@dataclass(frozen=True, slots=True)
class Size:
    """``factor`` times the product of ``symbols``, which are sorted."""

    factor: int
    symbols: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "*".join([*([] if self.factor == 1 and self.symbols else [str(self.factor)]), *self.symbols])

    def times(self, other: Size) -> Size:
        """The product of two sizes."""
        return Size(self.factor * other.factor, tuple(sorted(self.symbols + other.symbols)))

    def over(self, other: Size) -> Size | None:
        """The quotient, where it is a size again."""
        if other.factor == 0 or self.factor % other.factor:
            return None
        rest = Counter(self.symbols)
        rest.subtract(other.symbols)
        if any(count < 0 for count in rest.values()):
            return None
        return Size(self.factor // other.factor, tuple(sorted(rest.elements())))


ONE = Size(1)
Sizes = tuple[Size, ...]


def infer_sizes(graph: Graph) -> dict[str, Sizes]:
    """The shape in symbols of every value whose rank is known."""
    return _Inference(graph).run()


class _Inference:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.sizes: dict[str, Sizes] = {}
        self.shape_values: dict[str, Sizes] = {}

    def run(self) -> dict[str, Sizes]:
        for name, array in self.graph.constants.items():
            self.sizes[name] = tuple(Size(size) for size in array.shape)
            if array.dtype.kind == "i" and array.ndim <= 1 and array.size <= 16:
                self.shape_values[name] = tuple(Size(int(number)) for number in array.reshape(-1))
        for name in self.graph.inputs:
            self._declare(name)
        for node in self.graph.nodes:
            rule = _RULES.get(node.op)
            inputs = [self.sizes.get(name) if name is not None else None for name in node.inputs]
            result = rule(self, node, inputs) if rule and inputs and inputs[0] is not None else None
            if result is not None:
                self.sizes[node.output] = result
            for name in node.outputs:
                if name not in self.sizes:
                    self._declare(name)
        return self.sizes

    def _declare(self, name: str) -> None:
        shape = self.graph.type_of(name).shape
        if shape is not None:
            self.sizes[name] = tuple(
                Size(size) if isinstance(size, int) and size >= 0 else Size(1, (f"{name}.{axis}",))
                for axis, size in enumerate(shape)
            )


Rule = Callable[[_Inference, Node, list[Sizes | None]], Sizes | None]


def _same(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    return inputs[0]


def _formula(kind: str, *parts: Any) -> Size:
    return Size(1, (f"{kind}({','.join(str(part) for part in parts)})",))


def _broadcast(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    shapes = [shape for shape in inputs if shape is not None]
    if len(shapes) < len(inputs):
        return None
    return _broadcast_sizes(shapes)


def _broadcast_sizes(shapes: Sequence[Sizes]) -> Sizes | None:
    rank = max(map(len, shapes))
    padded = [(ONE,) * (rank - len(shape)) + shape for shape in shapes]
    result = []
    for sizes in zip(*padded, strict=True):
        others = {size for size in sizes if size != ONE}
        numbers = {size for size in others if not size.symbols}
        if len(numbers) == 1:
            # A symbol beside a number above one is that number or one: the result is the number.
            others = numbers
        if len(others) > 1:
            return None
        result.append(others.pop() if others else ONE)
    return tuple(result)


def _window(inference: _Inference, node: Node, x: Sizes, kernel: Sequence[int]) -> Sizes | None:
    """Sizes of what a sliding window makes of the spatial dimensions of ``x``.

    None where the node contradicts itself: the engine then refuses it by name.
    """
    attributes = node.attributes
    rank = len(kernel)
    strides = attributes.get("strides") or [1] * rank
    dilations = attributes.get("dilations") or [1] * rank
    pads = attributes.get("pads") or [0] * 2 * rank
    auto_pad = attributes.get("auto_pad", "NOTSET")
    consistent = len(strides) == len(dilations) == len(pads) / 2 == rank > 0
    if not consistent or min(strides) < 1:
        return None
    result = []
    for axis, size in enumerate(x[-rank:]):
        span = dilations[axis] * (kernel[axis] - 1) + 1
        total = pads[axis] + pads[axis + rank] if auto_pad == "NOTSET" else 0
        if strides[axis] == 1 and (auto_pad.startswith("SAME") or total == span - 1):
            result.append(size)
        elif not size.symbols and auto_pad in ("NOTSET", "VALID") and not attributes.get("ceil_mode"):
            result.append(Size((size.factor + total - span) // strides[axis] + 1))
        else:
            result.append(
                _formula("window", size, span, strides[axis], total, auto_pad, attributes.get("ceil_mode", 0))
            )
    return tuple(result)


def _conv(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    x, w = inputs[0], inputs[1]
    if x is None or w is None or len(x) != len(w) or any(size.symbols for size in w):
        return None
    window = _window(inference, node, x, [size.factor for size in w[2:]])
    return None if window is None else (x[0], w[0], *window)


def _pool(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    x = inputs[0]
    kernel = node.attributes.get("kernel_shape")
    if not x or not kernel or len(x) != len(kernel) + 2:
        return None
    window = _window(inference, node, x, kernel)
    return None if window is None else (*x[:2], *window)


def _global_pool(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    x = inputs[0]
    return x[:2] + (ONE,) * (len(x) - 2) if x else None


def _resize(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    x, scales = inputs[0], inference.graph.constants.get(node.input(2) or "")
    if x is None or scales is None or scales.size != len(x) or node.attributes.get("axes"):
        return None
    return tuple(
        size.times(Size(int(scale))) if float(scale).is_integer() else _formula("scaled", size, float(scale))
        for size, scale in zip(x, scales, strict=True)
    )


def _concat(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    shapes = [shape for shape in inputs if shape is not None]
    if len(shapes) < len(inputs) or len({len(shape) for shape in shapes}) != 1:
        return None
    values = [inference.shape_values.get(name or "") for name in node.inputs]
    if len(shapes[0]) == 1 and all(value is not None for value in values):
        inference.shape_values[node.output] = tuple(size for value in values for size in value or ())
    axis = node.attributes["axis"] % len(shapes[0])
    along = [shape[axis] for shape in shapes]
    if any(size.symbols for size in along):
        total = _formula("sum", *along)
    else:
        total = Size(sum(size.factor for size in along))
    return (*shapes[0][:axis], total, *shapes[0][axis + 1 :])


def _transpose(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    x = inputs[0]
    if x is None:
        return None
    perm = node.attributes.get("perm") or range(len(x))[::-1]
    return tuple(x[axis] for axis in perm) if sorted(perm) == list(range(len(x))) else None


def _matmul(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    a, b = inputs[0], inputs[1]
    if a is None or b is None or len(a) < 2 or len(b) < 2:
        return None
    rows = a[-1] if node.attributes.get("trans_a") else a[-2]
    columns = b[-2] if node.attributes.get("trans_b") else b[-1]
    batch = _broadcast_sizes([a[:-2], b[:-2]]) if len(a) > 2 or len(b) > 2 else ()
    return None if batch is None else (*batch, rows, columns)


def _shape(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    x = inputs[0]
    if x is None:
        return None
    values = x[slice(node.attributes.get("start", 0), node.attributes.get("end"))]
    inference.shape_values[node.output] = values
    return (Size(len(values)),)


def _passes_value(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> None:
    """Reshaping between a number and a list of one number keeps the number."""
    values = inference.shape_values.get(node.inputs[0] or "")
    if values is not None:
        inference.shape_values[node.output] = values


def _same_numbers(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    _passes_value(inference, node, inputs)
    return inputs[0]


def _integers(inference: _Inference, name: str | None) -> list[int] | None:
    values = inference.shape_values.get(name or "")
    if values is None or any(size.symbols for size in values):
        return None
    return [size.factor for size in values]


def _slice(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    x = inputs[0]
    starts, ends, axes, steps = (_integers(inference, node.input(i)) for i in (1, 2, 3, 4))
    if x is None or starts is None or ends is None or (node.input(3) is not None and axes is None):
        return None
    axes = axes if axes is not None else list(range(len(starts)))
    if node.input(4) is not None and (steps is None or any(step != 1 for step in steps)):
        return None
    values = inference.shape_values.get(node.inputs[0] or "")
    if values is not None and axes == [0]:
        inference.shape_values[node.output] = values[starts[0] : ends[0]]
    result = list(x)
    for start, end, axis in zip(starts, ends, axes, strict=False):
        size = x[axis]
        if size.symbols:
            result[axis] = _formula("slice", size, start, end)
        else:
            result[axis] = Size(len(range(size.factor)[start:end]))
    return tuple(result)


def _squeeze(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    _passes_value(inference, node, inputs)
    x, axes = inputs[0], _integers(inference, node.input(1))
    if x is None or axes is None:
        return None
    dropped = {axis % len(x) for axis in axes}
    return tuple(size for axis, size in enumerate(x) if axis not in dropped)


def _unsqueeze(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    _passes_value(inference, node, inputs)
    x, axes = inputs[0], _integers(inference, node.input(1))
    if x is None or axes is None:
        return None
    rank = len(x) + len(axes)
    added = {axis % rank for axis in axes}
    rest = iter(x)
    return tuple(ONE if axis in added else next(rest) for axis in range(rank))


def _reshape(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    _passes_value(inference, node, inputs)
    x, target = inputs[0], inference.shape_values.get(node.input(1) or "")
    if x is None or target is None:
        return None
    result: list[Size | None] = []
    for axis, size in enumerate(target):
        if size == Size(-1):
            result.append(None)
        elif size == Size(0) and not node.attributes.get("allowzero"):
            if axis >= len(x):
                return None
            result.append(x[axis])
        else:
            result.append(size)
    if result.count(None) == 1:
        rest = ONE
        for size_or_none in result:
            rest = rest.times(size_or_none) if size_or_none is not None else rest
        total = _total(x)
        missing = total.over(rest) or _formula("rest", total, rest)
        result[result.index(None)] = missing
    return tuple(size for size in result if size is not None)


def _flatten(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    x = inputs[0]
    if x is None:
        return None
    axis = node.attributes["axis"]
    axis = axis + len(x) if axis < 0 else axis
    return _total(x[:axis]), _total(x[axis:])


def _total(sizes: Sizes) -> Size:
    return reduce(Size.times, sizes, ONE)


def _reduce(inference: _Inference, node: Node, inputs: list[Sizes | None]) -> Sizes | None:
    x = inputs[0]
    axes = _integers(inference, node.input(1)) if node.input(1) is not None else node.attributes.get("axes")
    if x is None or axes is None or not axes:
        return None
    dropped = {axis % len(x) for axis in axes}
    if node.attributes.get("keepdims", 1):
        return tuple(ONE if axis in dropped else size for axis, size in enumerate(x))
    return tuple(size for axis, size in enumerate(x) if axis not in dropped)


_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("Activation", "BatchNormalization", "InstanceNormalization", "LayerNormalization",
         "LogSoftmax", "LRN", "Neg", "Sqrt", "SqueezeExcite", "Softmax", "Abs", "Log", "Reciprocal"),
        _same,
    ),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu"), _broadcast),
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), _reduce),
    **dict.fromkeys(("Cast", "Identity"), _same_numbers),
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": _flatten,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}  # fmt: skip
