"""A tensor added to the result of a convolution or matrix product is added in its epilogue."""

from __future__ import annotations

from vedette.model.graph import Graph, Node
from vedette.model.rewriting import Editor
from vedette.model.shapes import infer_sizes

_INPUT = 3


def fuse_residual(graph: Graph) -> Graph:
    """Moves Add into the Conv or MatMul before it where both operands are proven to have the same shape."""
    sizes = infer_sizes(graph)
    order = {value: at for at, node in enumerate(graph.nodes) for value in node.outputs}

    def fuse(editor: Editor, node: Node) -> None:
        if node.op != "Add" or not editor.graph.is_float32(node.output) or None in node.inputs:
            return
        # The later of two makers takes the other's result, so that both can run where they stood.
        operands = sorted(
            (value for value in node.inputs if value is not None), key=lambda v: -order.get(v, -1)
        )
        for value, other in (operands, operands[::-1]):
            maker = editor.sole(value, "Conv", "MatMul")
            if maker is None or maker.attributes.get("activation") or maker.input(_INPUT) is not None:
                continue
            if not editor.graph.is_float32(maker.inputs[0]) or value not in sizes:
                continue
            if sizes[value] != sizes.get(other):
                continue
            inputs = (*maker.inputs, *[None] * (_INPUT - len(maker.inputs)), other)
            fused = maker.changed(inputs=inputs, outputs=node.outputs)
            editor.replace([maker, node], [fused], at=node)
            return

    return Editor(graph).sweep(fuse)
