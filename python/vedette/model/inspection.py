"""What a model consists of, before and after it is compiled."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vedette.model.graph import Graph, Node


@dataclass(frozen=True, slots=True)
class Inspection:
    """A model file, read: its graph as it is, as it is compiled, and how each pass changed it."""

    path: str
    before: Graph
    after: Graph
    metadata: dict[str, str]
    passes: list[tuple[str, int]]
    unsupported: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain lists and numbers."""
        return {
            "path": self.path,
            "inputs": _values(self.before, self.before.inputs),
            "outputs": _values(self.before, self.before.outputs),
            "metadata": self.metadata,
            "before": _graph(self.before),
            "after": _graph(self.after),
            "passes": [{"name": name, "nodes": nodes} for name, nodes in self.passes],
            "unsupported": self.unsupported,
        }

    def __str__(self) -> str:
        lines = [self.path]
        lines += [f"  input   {_value(self.before, name)}" for name in self.before.inputs]
        lines += [f"  output  {_value(self.before, name)}" for name in self.before.outputs]
        for key, value in self.metadata.items():
            text = " ".join(value.split())
            lines.append(f"  note    {key}: {text[:60] + '...' if len(text) > 60 else text}")
        lines += ["", f"As read: {_summary(self.before)}"]
        lines += [_line(self.before, node) for node in self.before.nodes]
        lines += ["", "Passes (nodes left after each):"]
        lines += [f"  {nodes:6}  {name}" for name, nodes in self.passes]
        lines += ["", f"Compiled: {_summary(self.after)}"]
        lines += [_line(self.after, node) for node in self.after.nodes]
        if self.unsupported:
            lines += ["", "Not in the native engine:", *(f"  {name}" for name in self.unsupported)]
        return "\n".join(lines)


def inspect(path: str | Path) -> Inspection:
    """Reads and compiles an ONNX file without running it.

    Raises
    ------
    InvalidModelError, UnsupportedModelError
        As :func:`vedette.load`, but operators that only the engine lacks are listed and do not raise.
    """
    from vedette import _native
    from vedette.model.native_engine import evaluate
    from vedette.model.onnx_reader import read
    from vedette.model.passes import steps

    supported = frozenset(_native.supported_operators())
    source = read(path, supported, strict=False)
    graph, passes = source.graph, []
    for name, graph in steps(source.graph, evaluate):
        passes.append((name, len(graph.nodes)))
    missing = [f"{node.op} '{node.label}'" for node in graph.nodes if node.op not in supported]
    return Inspection(str(path), source.graph, graph, source.metadata, passes, missing)


def _summary(graph: Graph) -> str:
    counts = Counter(node.op for node in graph.nodes)
    weights = sum(array.nbytes for array in graph.constants.values())
    operators = ", ".join(f"{count} {op}" for op, count in counts.most_common())
    return f"{len(graph.nodes)} nodes ({operators}), {weights / 1e6:.1f} MB of constants"


def _value(graph: Graph, name: str) -> str:
    type_ = graph.type_of(name)
    shape = (
        "?" if type_.shape is None else "x".join("?" if size is None else str(size) for size in type_.shape)
    )
    return f"{name}: {type_.dtype or '?'} {shape or 'scalar'}"


def _operand(graph: Graph, name: str | None) -> str:
    if name is None:
        return "-"
    array = graph.constants.get(name)
    if array is None:
        return name
    if array.size <= 4:
        return np.array2string(array, separator=",", precision=4).replace(" ", "")
    return f"{array.dtype.name}[{'x'.join(map(str, array.shape))}]"


def _line(graph: Graph, node: Node) -> str:
    inputs = ", ".join(_operand(graph, name) for name in node.inputs)
    outputs = ", ".join(node.outputs)
    attributes = ", ".join(
        f"{name}={_plain(value)}" for name, value in node.attributes.items() if value is not None
    )
    return f"  {outputs} = {node.op}({inputs})" + (f" {{{attributes}}}" if attributes else "")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name}[{'x'.join(map(str, value.shape))}]"
    if isinstance(value, dict):
        kind, *parameters = value.values()
        return f"{kind}({', '.join(f'{number:.6g}' for number in parameters)})" if parameters else kind
    return f"{value:.6g}" if isinstance(value, float) else value


def _values(graph: Graph, names: tuple[str, ...]) -> list[dict[str, Any]]:
    types = [(name, graph.type_of(name)) for name in names]
    return [{"name": name, "dtype": type_.dtype, "shape": type_.shape} for name, type_ in types]


def _graph(graph: Graph) -> list[dict[str, Any]]:
    return [
        {
            "op": node.op,
            "name": node.label,
            "inputs": [_operand(graph, name) for name in node.inputs],
            "outputs": list(node.outputs),
            "attributes": {
                name: _plain(value) if isinstance(value, np.ndarray) else value
                for name, value in node.attributes.items()
            },
        }
        for node in graph.nodes
    ]
