"""The graph a model is compiled in: named values, nodes in execution order, constants.

Operators have the names and meaning of the newest ONNX opset, and the fused ones of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Dimension = int | str | None


@dataclass(frozen=True, slots=True)
class TensorType:
    """What is known of a value before it is run: element type and shape, ``None`` where unknown.

    A dimension is a number, a name (only informative: equal names do not promise equal sizes) or ``None``.
    """

    dtype: str | None = None
    shape: tuple[Dimension, ...] | None = None

    @property
    def rank(self) -> int | None:
        """Number of dimensions, if known."""
        return None if self.shape is None else len(self.shape)


UNKNOWN = TensorType()


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation. Nodes compare by identity: two equal ones are still two places in the graph."""

    op: str
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def changed(self, **fields: Any) -> Node:
        """A copy with other fields."""
        return replace(self, **fields)

    def with_attributes(self, **attributes: Any) -> Node:
        """A copy with some attributes added or changed."""
        return replace(self, attributes={**self.attributes, **attributes})

    def input(self, index: int) -> str | None:
        """Name of input ``index``; ``None`` where an optional input is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    @property
    def output(self) -> str:
        """Name of the first output."""
        return self.outputs[0]

    @property
    def label(self) -> str:
        """How messages call the node: by its name, else by what it makes."""
        return self.name or self.outputs[0]


@dataclass(slots=True)
class Graph:
    """Nodes in an order in which every value is made before it is used."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: list[Node]
    constants: dict[str, Array]
    types: dict[str, TensorType]
    name: str = ""

    def with_nodes(self, nodes: list[Node]) -> Graph:
        """A graph of other nodes that shares everything else but the tables of names."""
        return replace(self, nodes=nodes, constants=dict(self.constants), types=dict(self.types))

    def type_of(self, value: str | None) -> TensorType:
        """Element type and shape of a value as far as they are known."""
        if value is None:
            return UNKNOWN
        constant = self.constants.get(value)
        if constant is not None:
            return TensorType(constant.dtype.name, constant.shape)
        return self.types.get(value, UNKNOWN)

    def is_float32(self, value: str | None) -> bool:
        """Whether the value is known to be float32."""
        return self.type_of(value).dtype == "float32"


def scalar(array: Array | None) -> float | None:
    """The number in an array of one element."""
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None
