"""Models compiled for and run by Vedette's own engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vedette import _native
from vedette.errors import InvalidModelError, UnsupportedModelError
from vedette.model.graph import Array, Graph
from vedette.model.lowering import lower
from vedette.model.passes import normalize, optimize

if TYPE_CHECKING:
    from vedette._native import _ProfileEntry
    from vedette.tensor_file import TensorFile


class NativeEngine:
    """A program in the native engine.

    ``file`` is what the constants are views of, if they are. Large ones stay there until the first run, which
    packs or copies them.
    """

    def __init__(
        self,
        program: str,
        constants: Sequence[Array],
        threads: int = 0,
        isa: str | None = None,
        strip_bytes: int | None = None,
        *,
        file: TensorFile | None = None,
    ) -> None:
        mapped = file is not None
        self._engine = _native.Engine(
            program, constants, threads, isa, strip_bytes=strip_bytes, mapped=mapped
        )
        self._file = file

    @classmethod
    def of(
        cls, graph: Graph, threads: int = 0, isa: str | None = None, strip_bytes: int | None = None
    ) -> NativeEngine:
        """The engine of a compiled graph.

        Large maps are computed some rows at a time, so many that steps touch ``strip_bytes`` (0: whole).

        Raises
        ------
        UnsupportedModelError
            There are operators the engine does not have; every such node is named.
        """
        refuse_unsupported(graph, _native.supported_operators())
        return cls(*lower(graph), threads, isa, strip_bytes)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Runs the graph; inputs and outputs are in the order of the graph's.

        Raises
        ------
        InvalidModelError
            The file of a saved model was shortened before its first run.
        """
        self._check_file()
        outputs = self._engine.run(inputs)
        self._file = None
        return outputs

    def profile(self, inputs: Sequence[Array]) -> tuple[list[Array], list[_ProfileEntry]]:
        """Runs the graph and tells what each node took."""
        self._check_file()
        profiled = self._engine.profile(inputs)
        self._file = None
        return profiled

    def _check_file(self) -> None:
        if self._file is not None and self._file.is_shortened():
            raise InvalidModelError("the model's file was shortened after it was loaded; load it again")

    def memory(self) -> dict[str, int]:
        """Bytes the engine holds, by what for."""
        return dict(self._engine.memory())  # type: ignore[arg-type]


def compile_graph(graph: Graph) -> Graph:
    """Rewrites a graph as read into the form that runs fastest; one that came quantised, into integers."""
    from vedette.model.integer.imported import absorb, is_quantized, to_integers

    # Weights that are infinite or NaN, or become so, compute that, folded or not: no matter to warn of.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if not is_quantized(graph):
            return optimize(graph, evaluate)
        imported = absorb(graph)
        return to_integers(imported, optimize(imported.graph, evaluate), evaluate)


def evaluate(graph: Graph) -> dict[str, Array]:
    """Runs a graph that has no inputs, once."""
    engine = NativeEngine.of(normalize(graph), threads=1)
    return dict(zip(graph.outputs, engine.run([]), strict=True))


def refuse_unsupported(graph: Graph, supported: Collection[str]) -> None:
    """Raises UnsupportedModelError naming every node that the engine has no operator for."""
    from vedette.model.onnx_reader import unsupported_message

    missing = [(node.op, node.label) for node in graph.nodes if node.op not in supported]
    if missing:
        raise UnsupportedModelError(unsupported_message(missing))
