"""Models that take images as they are, bytes, and normalise them themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vedette.errors import InputError
from vedette.model.graph import Array, Graph, Node, TensorType, scalar
from vedette.model.passes.input_scale import fold_input_scale

_LEVELS = np.arange(256, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class ImageInput:
    """What a network was trained on: level ``v`` of a channel as ``(v / 255 - mean) / std``.

    A model loaded with one takes uint8 images, ``(batch, channels, height, width)`` in any memory order, in
    place of its float32 input: a quarter of the memory, and nothing to compute before.

    Attributes
    ----------
    mean, std
        For each channel.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean or 0.0 in self.std:
            raise InputError(
                f"expected a mean and a deviation above 0 a channel, got {self.mean}, {self.std}"
            )

    @property
    def shifts(self) -> NDArray[np.float32]:
        """What is added to levels; one element where all channels are alike."""
        return _alike([-255 * mean for mean in self.mean])

    @property
    def factors(self) -> NDArray[np.float32]:
        """What they are multiplied by then; one element where all channels are alike."""
        return _alike([1 / (255 * deviation) for deviation in self.std])


def _alike(numbers: Sequence[float]) -> NDArray[np.float32]:
    chosen = numbers[:1] if len(set(numbers)) == 1 else numbers
    return np.array(chosen, np.float32).reshape(1, -1, 1, 1)


def take_images(graph: Graph, images: ImageInput) -> Graph:
    """A compiled graph, in floats or integers, whose one input is uint8 images.

    Raises
    ------
    InputError
        The graph has several inputs, or one that is not float32 images of as many channels.
    """
    shape = graph.type_of(graph.inputs[0]).shape or () if len(graph.inputs) == 1 else ()
    channels = shape[1] if len(shape) == 4 else 0
    fits = channels == len(images.mean) or (len(shape) == 4 and not isinstance(channels, int))
    if not fits or not graph.is_float32(graph.inputs[0]):
        raise InputError(
            f"image_input is for a model of one float32 input of {len(images.mean)} channels; this one takes "
            f"{', '.join(f'{name} {graph.type_of(name).shape}' for name in graph.inputs)}"
        )
    x = graph.inputs[0]
    made = graph.with_nodes([])
    if x in graph.outputs:
        raise InputError(f"the input {x!r} is an output, too")
    normalised = f"{x}#normalised"
    made.types[normalised] = graph.types[x]
    made.types[x] = TensorType("uint8", graph.types[x].shape)
    nodes = [
        node.changed(inputs=tuple(normalised if value == x else value for value in node.inputs))
        for node in graph.nodes
    ]
    readers = [node for node in nodes if normalised in node.inputs]
    entries = [_entries(graph, node, images) for node in readers]
    if all(table is not None for table in entries):
        made.nodes = [_lookup(made, x, node, entries, readers) for node in nodes]
        return made
    made.nodes = [*_normalising(made, x, normalised, images), *nodes]
    return fold_input_scale(made)


def _normalising(graph: Graph, x: str, normalised: str, images: ImageInput) -> list[Node]:
    levels, shifted, shifts, factors = (f"{x}#{part}" for part in ("levels", "shifted", "shifts", "factors"))
    for value in (levels, shifted):
        graph.types[value] = graph.types[normalised]
    # The shift goes first, so that the product can become part of a convolution's weights, borders or not.
    graph.constants |= {shifts: images.shifts, factors: images.factors}
    return [
        Node("Cast", (x,), (levels,), {"to": "float32"}),
        Node("Add", (levels, shifts), (shifted,)),
        Node("Mul", (shifted, factors), (normalised,)),
    ]


def _entries(graph: Graph, node: Node, images: ImageInput) -> Array | None:
    """What a quantisation of the normalised image makes of each level, where channels are alike."""
    if node.op != "QuantizeLinear" or images.factors.size > 1 or images.shifts.size > 1:
        return None
    scale, zero_point = (graph.constants.get(node.input(at) or "") for at in (1, 2))
    step, zero = scalar(scale), scalar(zero_point)
    if step is None or zero is None or zero_point is None or zero_point.dtype != np.uint8:
        return None
    values = (_LEVELS + images.shifts.item()) * images.factors.item()
    levels: Array = np.clip(np.rint(values / np.float32(step)) + zero, 0, 255).astype(np.uint8)
    return levels


def _lookup(
    graph: Graph, x: str, node: Node, entries: Sequence[Array | None], readers: Sequence[Node]
) -> Node:
    if node not in readers:
        return node
    table = f"{node.label}#table"
    graph.constants[table] = np.asarray(entries[readers.index(node)])
    return Node("QuantizedLookup", (x, table), node.outputs, {}, node.name)
