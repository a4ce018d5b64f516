"""Layer normalisation, as exporters spelled it out before opset 17."""

from __future__ import annotations

from vedette.model.graph import Graph, Node
from vedette.model.rewriting import Editor, rewrite


def fuse_layer_norm(graph: Graph) -> Graph:
    """Finds ``scale (x - mean(x)) / sqrt(variance(x) + epsilon) + bias`` over the last dimensions."""
    return rewrite(graph, _fuse)


def _fuse(editor: Editor, node: Node) -> None:
    if node.op != "Add" or not editor.graph.is_float32(node.output):
        return
    shifted = editor.constant_operand(node)
    scaling = editor.sole(shifted[0], "Mul") if shifted is not None else None
    scaled = editor.constant_operand(scaling) if scaling is not None else None
    division = editor.sole(scaled[0], "Div") if scaled is not None else None
    if shifted is None or scaled is None or scaling is None or division is None:
        return
    found = _normalized(editor, division)
    if found is None:
        return
    x, axes, epsilon, old = found
    scale, bias = scaled[1], shifted[1]
    if scale.ndim != len(axes) or bias.ndim > scale.ndim or bias.shape != scale.shape:
        return
    inputs = (
        x,
        next(value for value in scaling.inputs if value != scaled[0]),
        next(value for value in node.inputs if value != shifted[0]),
    )
    attributes = {"axis": -len(axes), "epsilon": epsilon}
    fused = Node("LayerNormalization", inputs, node.outputs, attributes, node.label)
    editor.replace([node, scaling, division, *old], [fused], at=node)


def _normalized(editor: Editor, division: Node) -> tuple[str, list[int], float, list[Node]] | None:
    """Matches ``d / sqrt(mean(d^2) + epsilon)`` with ``d = x - mean(x)``."""
    centered = editor.producer(division.inputs[0], "Sub")
    root = editor.sole(division.inputs[1], "Sqrt")
    total = editor.sole(root.inputs[0], "Add") if root is not None else None
    split = editor.constant_operand(total) if total is not None else None
    variance = editor.sole(split[0], "ReduceMean") if split is not None else None
    square = editor.sole(variance.inputs[0], "Pow", "Mul") if variance is not None else None
    if (
        centered is None
        or root is None
        or total is None
        or split is None
        or variance is None
        or square is None
    ):
        return None
    if split[1].size != 1 or not _is_square(editor, square, centered.output):
        return None
    if len(editor.users(centered.output)) != 1 + square.inputs.count(centered.output):
        return None
    mean = editor.sole(centered.inputs[1], "ReduceMean")
    if mean is None or mean.inputs[0] != centered.inputs[0] or editor.is_output(centered.output):
        return None
    axes = _last_axes(editor, mean)
    if axes is None or axes != _last_axes(editor, variance):
        return None
    x = mean.inputs[0] or ""
    return x, axes, float(split[1].reshape(-1)[0]), [root, total, variance, square, centered, mean]


def _is_square(editor: Editor, node: Node, value: str) -> bool:
    if node.op == "Mul":
        return node.inputs == (value, value)
    return node.inputs[0] == value and editor.scalar(node.inputs[1]) == 2.0


def _last_axes(editor: Editor, mean: Node) -> list[int] | None:
    """The axes of a mean that keeps its dimensions, as negative numbers, if they are the last ones."""
    axes = editor.constant(mean.input(1))
    rank = editor.graph.type_of(mean.inputs[0]).rank
    if axes is None or axes.size == 0 or mean.attributes["keepdims"] != 1:
        return None
    if any(axis >= 0 for axis in axes) and rank is None:
        return None
    negative = sorted(int(axis) - (rank or 0) if axis >= 0 else int(axis) for axis in axes)
    return negative if negative == list(range(-len(negative), 0)) else None
