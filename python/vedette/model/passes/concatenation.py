"""A convolution reads concatenated channels where they are: the copy is neither made nor kept."""

from __future__ import annotations

from vedette.model.graph import Graph, Node
from vedette.model.rewriting import Editor
from vedette.model.shapes import infer_sizes

# What the engine takes: the first part before weights, bias and residual, up to three more behind them.
# Short runs cost more than a copy.
_MOST_PARTS = 4
_FIRST_FURTHER = 4
_LEAST_CHANNELS = 16


def fuse_concatenation(graph: Graph) -> Graph:
    """Gives the inputs of a Concat of channels to the Conv that reads it, where all have the same shape."""
    sizes = infer_sizes(graph)

    def fuse(editor: Editor, node: Node) -> None:
        if node.op != "Conv" or node.attributes.get("group", 1) != 1 or len(node.inputs) > _FIRST_FURTHER:
            return
        concat = editor.sole(node.inputs[0], "Concat")
        if concat is None or not 2 <= len(concat.inputs) <= _MOST_PARTS:
            return
        shape = sizes.get(concat.inputs[0] or "")
        if shape is None or len(shape) < 3 or concat.attributes["axis"] not in (1, 1 - len(shape)):
            return
        if any(part is None or sizes.get(part) != shape for part in concat.inputs):
            return
        channels = shape[1]
        if (
            channels.symbols
            or channels.factor < _LEAST_CHANNELS
            or not editor.graph.is_float32(concat.output)
        ):
            return
        first, *further = concat.inputs
        padding = [None] * (_FIRST_FURTHER - len(node.inputs))
        fused = node.changed(inputs=(first, *node.inputs[1:], *padding, *further))
        editor.replace([concat, node], [fused], at=node)

    return Editor(graph).sweep(fuse)
