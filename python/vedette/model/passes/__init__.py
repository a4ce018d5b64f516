"""How a graph is rewritten between reading and lowering: functions ``Graph -> Graph``, one a file."""

from __future__ import annotations

from collections.abc import Iterator

from vedette.model.graph import Graph
from vedette.model.passes.activations import lower_activations
from vedette.model.passes.batch_norm import fold_batch_norm
from vedette.model.passes.common_subexpressions import merge_common_subexpressions
from vedette.model.passes.constants import Evaluate, fold_constants
from vedette.model.passes.dead_code import remove_dead_code
from vedette.model.passes.epilogue import fuse_activations
from vedette.model.passes.gelu import fuse_gelu
from vedette.model.passes.gemm import lower_gemm
from vedette.model.passes.hard_swish import fuse_hard_swish
from vedette.model.passes.identities import remove_identities
from vedette.model.passes.input_scale import fold_input_scale
from vedette.model.passes.layer_norm import fuse_layer_norm
from vedette.model.passes.matmul_scale import fold_matmul_scale
from vedette.model.passes.ranks import note_shapes
from vedette.model.passes.residual import fuse_residual
from vedette.model.passes.scale_and_bias import fold_scale_and_bias
from vedette.model.passes.silu import fuse_silu
from vedette.model.passes.softmax import unflatten_softmax
from vedette.model.passes.squeeze_excite import fuse_squeeze_excite

__all__ = ["normalize", "optimize", "steps"]

PASSES = (
    merge_common_subexpressions,
    unflatten_softmax,
    fuse_layer_norm,
    fuse_gelu,
    fuse_hard_swish,
    fuse_silu,
    # A bias may stand before a batch normalisation, and a scale after it.
    fold_scale_and_bias,
    fold_batch_norm,
    fold_scale_and_bias,
    fold_input_scale,
    fold_matmul_scale,
    fuse_residual,
    fuse_activations,
    fuse_squeeze_excite,
    remove_dead_code,
)


def normalize(graph: Graph) -> Graph:
    """Writes the operators that the engine has under another name in its form."""
    return lower_gemm(lower_activations(remove_dead_code(graph)))


def steps(graph: Graph, evaluate: Evaluate) -> Iterator[tuple[str, Graph]]:
    """Runs pass after pass, giving the name of each and the graph it made."""
    graph = normalize(graph)
    yield "normalize", graph
    graph = fold_constants(graph, evaluate)
    yield "fold_constants", graph
    # Clip bounds that were computed are constants now, and so are the shapes that tensors are reshaped to.
    graph = remove_identities(note_shapes(lower_activations(graph)))
    yield "remove_identities", graph
    for rewrite in PASSES:
        graph = rewrite(graph)
        yield rewrite.__name__, graph


def optimize(graph: Graph, evaluate: Evaluate) -> Graph:
    """Runs every pass."""
    for _, rewritten in steps(graph, evaluate):
        graph = rewritten
    return graph
