"""What is computed twice from the same values is computed once."""

from __future__ import annotations

import numpy as np

from vedette.model.graph import Graph, Node
from vedette.model.passes.constants import IMPURE
from vedette.model.rewriting import Editor, rewrite


def merge_common_subexpressions(graph: Graph) -> Graph:
    """Lets readers of a repeated computation read the first one."""
    seen: dict[object, Node] = {}

    def merge(editor: Editor, node: Node) -> None:
        if node.op in IMPURE or any(editor.is_output(value) for value in node.outputs):
            return
        if any(isinstance(value, np.ndarray) for value in node.attributes.values()):
            return
        key = (node.op, node.inputs, len(node.outputs), repr(sorted(node.attributes.items())))
        first = seen.setdefault(key, node)
        if first is not node:
            for value, same in zip(node.outputs, first.outputs, strict=True):
                editor.redirect(value, same)
            editor.replace([node], [], at=node)

    return rewrite(graph, merge)
