"""Activations that an integer epilogue cannot do stand apart; what stays float takes them back."""

from __future__ import annotations

from vedette.model.graph import Graph, Node
from vedette.model.passes.activations import activation_node
from vedette.model.passes.weights import WEIGHTED
from vedette.model.rewriting import Editor, rewrite

EPILOGUE_ACTIVATIONS = ("relu", "clip")
"""What an integer epilogue does before it rounds; everything else is a table over its 256 values."""

_INTEGER = ("QuantizedConv", "QuantizedConvTranspose", "QuantizedMatMul")
"""Products in integers, which do every activation where their result stays float."""


def split_activations(graph: Graph) -> Graph:
    """Takes activations other than Relu and Clip out of epilogues, into nodes of their own."""
    return rewrite(graph, _split)


def _split(editor: Editor, node: Node) -> None:
    activation = node.attributes.get("activation")
    if node.op not in WEIGHTED or not activation or activation["kind"] in EPILOGUE_ACTIVATIONS:
        return
    linear = f"{node.output}:linear"
    if linear in editor.graph.types:
        linear = editor.fresh(linear)
    editor.set_type(linear, editor.graph.type_of(node.output))
    bare = node.with_attributes(activation=None).changed(outputs=(linear,))
    applied = activation_node(linear, node.output, activation, f"{node.label}:activation")
    editor.replace([node], [bare, applied], at=node)


def join_activations(graph: Graph) -> Graph:
    """Moves activations back into the products before them whose results are float."""
    return rewrite(graph, _join)


def _join(editor: Editor, node: Node) -> None:
    if node.op != "Activation":
        return
    by_row = ("DynamicQuantizedMatMul", "BlockQuantizedMatMul")
    maker = editor.sole(node.inputs[0], *WEIGHTED, *by_row, *_INTEGER)
    if maker is None or maker.attributes.get("activation") or "y_scale" in maker.attributes:
        return
    joined = maker.with_attributes(activation=node.attributes["activation"]).changed(outputs=node.outputs)
    editor.replace([maker, node], [joined], at=node)
