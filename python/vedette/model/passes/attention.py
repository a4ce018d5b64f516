"""Products of two activations in bfloat16: attention as one node, which keeps no matrix of scores."""

from __future__ import annotations

from vedette.model.graph import Graph, Node
from vedette.model.rewriting import Editor, rewrite


def narrow_attention(graph: Graph) -> Graph:
    """Computes products of two activations in bfloat16, those around a softmax as one node.

    They feed a softmax, or average by its weights, so rounding their operands does little to what follows;
    in float32 they would take longer than all the integer and bfloat16 products beside them.
    """
    return rewrite(rewrite(graph, _fuse), _narrow)


def _fuse(editor: Editor, node: Node) -> None:
    if (
        not _multiplies_activations(editor, node)
        or _has_more(node)
        or node.attributes.get("alpha", 1.0) != 1.0
    ):
        return
    softmax = editor.sole(node.inputs[0], "Softmax")
    scores = editor.sole(softmax.inputs[0], "MatMul") if softmax is not None else None
    if softmax is None or scores is None or not _multiplies_activations(editor, scores) or _has_more(scores):
        return
    q, k = scores.inputs[:2]
    v = node.inputs[1]
    ranks = {editor.graph.type_of(value).rank for value in (q, k, v, scores.output) if value is not None}
    rank = ranks.pop()
    # A softmax over another axis than the keys is not attention; vectors have other rules.
    if ranks or rank is None or rank < 2 or softmax.attributes.get("axis", -1) not in (-1, rank - 1):
        return
    fused = Node(
        "ScaledDotProductAttention",
        (q, k, v),
        node.outputs,
        {"alpha": float(scores.attributes.get("alpha") or 1.0), "precision": "bfloat16"},
        node.name,
    )
    editor.replace([scores, softmax, node], [fused], at=node)


def _narrow(editor: Editor, node: Node) -> None:
    if _multiplies_activations(editor, node) and "precision" not in node.attributes:
        editor.replace([node], [node.with_attributes(precision="bfloat16")], at=node)


def _multiplies_activations(editor: Editor, node: Node) -> bool:
    return (
        node.op == "MatMul"
        and editor.graph.is_float32(node.output)
        and all(editor.constant(value) is None for value in node.inputs[:2])
    )


def _has_more(node: Node) -> bool:
    """Whether the product does more than multiply its operands as they lie, and scale."""
    attributes = node.attributes
    return any(value is not None for value in node.inputs[2:]) or any(
        attributes.get(name) for name in ("activation", "trans_a", "trans_b")
    )
