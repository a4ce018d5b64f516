"""From a float graph and what was seen of its values to a graph in integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vedette import runtime
from vedette.model.graph import Graph, Node
from vedette.model.integer.activations import join_activations, split_activations
from vedette.model.integer.blocks import block_form
from vedette.model.integer.equalization import equalize
from vedette.model.integer.form import Quantization, integer_form
from vedette.model.integer.operators import FOLLOWING, WEIGHTED, obstacle
from vedette.model.integer.placement import place
from vedette.model.integer.recipe import Recipe
from vedette.model.integer.tables import fuse_tables
from vedette.model.passes.attention import narrow_attention
from vedette.model.passes.constants import Evaluate
from vedette.model.passes.dead_code import remove_dead_code
from vedette.model.rewriting import Editor, rewrite


def prepare(graph: Graph) -> Graph:
    """The form of a compiled float graph that is calibrated, and that integers are made from."""
    return rewrite(split_activations(graph), _spatial_mean)


def quantized_graph(prepared: Graph, recipe: Recipe, level: str, evaluate: Evaluate) -> Graph:
    """A prepared graph in the integer form of a recipe; ``level`` names its precisions.

    At ``"fast"`` nodes are in bfloat16 because that takes less time: where there are units for it.
    """
    chosen = dict(recipe.precisions.get(level, {}))
    if level == "fast" and not _has_bfloat16_units():
        chosen = {value: kind for value, kind in chosen.items() if kind != "bfloat16"}
    precisions = default_precisions(prepared) | chosen
    return lower_to_integers(equalize(prepared, recipe.scales), recipe, precisions, evaluate)


def _has_bfloat16_units() -> bool:
    return runtime.isa() in ("avx512", "amx") and runtime.cpu_features()["avx512_bf16"]


def lower_to_integers(
    prepared: Graph, recipe: Recipe, precisions: Mapping[str, str], evaluate: Evaluate
) -> Graph:
    """A prepared and equalised graph with its nodes in these precisions, by the value they make."""
    values = place(prepared, recipe.ranges, lambda node: precisions.get(node.output))
    plan = Quantization(values, precisions, {}, recipe.moments)
    graph = fuse_tables(integer_form(prepared, plan, evaluate))
    in_blocks = frozenset(value for value, kind in precisions.items() if kind == "int4")
    graph = block_form(graph, {}, in_blocks)
    # What stayed float takes its activation back.
    return narrow_attention(remove_dead_code(join_activations(graph)))


def default_precisions(prepared: Graph) -> dict[str, str]:
    """``"int8"`` for every node that integers can do, ``"dynamic"`` for products of normalised activations.

    What follows a layer normalisation, a softmax or a product of two activations differs so much from row to
    row that each row is better rounded by itself.
    """
    maker = {name: node for node in prepared.nodes for name in node.outputs}
    known: dict[str, bool] = {}

    def varies(name: str | None) -> bool:
        node = maker.get(name or "")
        if node is None or name is None:
            return False
        if name not in known:
            known[name] = False
            if node.op in ("Conv", "ConvTranspose"):
                found = False
            elif (node.op == "MatMul" and obstacle(prepared, node) is None) or node.op in FOLLOWING:
                found = any(varies(value) for value in node.inputs)
            else:
                found = True
            known[name] = found
        return known[name]

    return {
        node.output: "dynamic" if node.op == "MatMul" and varies(node.inputs[0]) else "int8"
        for node in prepared.nodes
        if node.op in WEIGHTED and obstacle(prepared, node) is None
    }


def in_float(prepared: Graph, precisions: Mapping[str, str]) -> Graph:
    """The prepared graph with no integers, its nodes in bfloat16 where these precisions say so."""
    nodes = [
        node.with_attributes(precision="bfloat16")
        if node.op in WEIGHTED and precisions.get(node.output) == "bfloat16"
        else node
        for node in prepared.nodes
    ]
    graph = join_activations(prepared.with_nodes(nodes))
    return narrow_attention(graph) if "bfloat16" in precisions.values() else graph


def all_bfloat16(prepared: Graph) -> dict[str, str]:
    """``"bfloat16"`` for every convolution and matrix product."""
    return {node.output: "bfloat16" for node in prepared.nodes if node.op in WEIGHTED}


def reasons(prepared: Graph, precisions: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Why weighted nodes are not in integers, by the value they make."""
    found = {}
    for node in prepared.nodes:
        if node.op not in WEIGHTED:
            continue
        why = obstacle(prepared, node)
        if why is not None:
            found[node.output] = why
        elif precisions.get(node.output) in ("float32", "bfloat16"):
            found[node.output] = chosen.get(node.output, "the precision asked for")
    return found


def _spatial_mean(editor: Editor, node: Node) -> Any:
    """A mean over both axes of images is a pool, which has an integer form."""
    axes = editor.constant(node.input(1)) if node.op == "ReduceMean" else None
    x = node.input(0)
    if axes is None or x is None or node.attributes.get("keepdims", 1) != 1:
        return
    if editor.graph.type_of(x).rank == 4 and sorted(int(axis) % 4 for axis in np.ravel(axes)) == [2, 3]:
        pool = Node("GlobalAveragePool", (x,), node.outputs, {}, node.name)
        editor.replace([node], [pool], at=node)
