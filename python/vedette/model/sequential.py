"""Networks made in code, layer after layer, from NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vedette.errors import InputError
from vedette.model.graph import Dimension, Graph, Node, TensorType
from vedette.model.model import Model, Origin, model_of
from vedette.model.passes.activations import activation_node

_ACTIVATIONS: dict[str, dict[str, Any]] = {
    "relu": {"kind": "relu"},
    "relu6": {"kind": "clip", "min": 0.0, "max": 6.0},
    "sigmoid": {"kind": "sigmoid"},
    "tanh": {"kind": "tanh"},
    "gelu": {"kind": "gelu"},
    "silu": {"kind": "silu", "alpha": 1.0},
    "hard_swish": {"kind": "hard_swish"},
}


class Sequential:
    """Layers one after the other; :meth:`build` makes a model of them.

    Examples
    --------
    >>> import numpy as np
    >>> net = Sequential().linear(np.eye(3), [1, 2, 3], activation="relu").build((None, 3))
    >>> net(np.array([[1, -9, 1]], np.float32)).tolist()
    [[2.0, 0.0, 4.0]]
    """

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._constants: dict[str, NDArray[np.float32]] = {}
        self._value = "x"

    def linear(
        self, weights: ArrayLike, bias: ArrayLike | None = None, *, activation: str | None = None
    ) -> Self:
        """Adds ``activation(x @ weights + bias)``; weights are ``(inputs, outputs)``."""
        w = _floats(weights, "weights", 2)
        operands = [self._value, self._constant(w), *self._bias(bias, w.shape[1])]
        attributes = {"alpha": 1.0, "trans_a": False, "trans_b": False, "activation": None}
        return self._layer("MatMul", operands, attributes, activation)

    def conv2d(
        self,
        weights: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        activation: str | None = None,
    ) -> Self:
        """Adds a convolution; weights are ``(outputs, inputs / groups, height, width)``."""
        w = _floats(weights, "weights", 4)
        if min(stride, dilation, groups) < 1 or padding < 0 or w.shape[0] % groups:
            raise InputError(
                f"expected a stride, dilation and groups of at least 1 that divide {w.shape[0]} outputs, and "
                f"no negative padding; got {stride}, {dilation}, {groups}, {padding}"
            )
        attributes = {
            "strides": [stride] * 2,
            "pads": [padding] * 4,
            "dilations": [dilation] * 2,
            "group": groups,
            "kernel_shape": list(w.shape[2:]),
            "auto_pad": "NOTSET",
        }
        operands = [self._value, self._constant(w), *self._bias(bias, w.shape[0])]
        return self._layer("Conv", operands, attributes, activation)

    def max_pool2d(self, size: int, *, stride: int | None = None) -> Self:
        """Adds the largest of each window of ``size`` by ``size``."""
        attributes = {
            "kernel_shape": [size] * 2,
            "strides": [stride or size] * 2,
            "pads": [0] * 4,
            "dilations": [1, 1],
            "auto_pad": "NOTSET",
            "ceil_mode": 0,
            "storage_order": 0,
        }
        return self._layer("MaxPool", [self._value], attributes, None)

    def global_average_pool(self) -> Self:
        """Adds the mean of each channel, ``(N, C, 1, 1)``."""
        return self._layer("GlobalAveragePool", [self._value], {}, None)

    def flatten(self) -> Self:
        """Adds the step from ``(N, ...)`` to ``(N, features)``."""
        return self._layer("Flatten", [self._value], {"axis": 1}, None)

    def build(
        self,
        shape: Sequence[Dimension],
        *,
        precision: str = "float32",
        calibration: Any = None,
        threads: int | None = None,
    ) -> Model:
        """Makes the model.

        Parameters
        ----------
        shape : sequence
            Of the input; ``None`` where a size is free.
        precision : str
            As for :func:`vedette.quantize`; all but ``"float32"`` and ``"bfloat16"`` need calibration.
        calibration : iterable of arrays, optional
            Inputs like those the model will see.
        """
        if not self._nodes:
            raise InputError("there are no layers; add one: Sequential().linear(weights)")
        if precision not in ("float32", "bfloat16") and calibration is None:
            raise InputError(f"precision {precision!r} needs calibration: some inputs like those it will see")
        graph = self._graph(tuple(shape))
        model = model_of(graph, {}, threads, None, origin=Origin(None, "", {}, lambda: graph))
        if precision == "float32":
            return model
        from vedette.model.quantizing import quantize

        inputs = calibration
        if inputs is None:
            inputs = [np.zeros([size if isinstance(size, int) else 1 for size in shape], np.float32)]
        return quantize(model, inputs, precision=precision, threads=threads)

    def _graph(self, shape: tuple[Dimension, ...]) -> Graph:
        from vedette.model.native_engine import compile_graph
        from vedette.model.shapes import infer_sizes

        types = {"x": TensorType("float32", shape)}
        types |= {node.output: TensorType("float32") for node in self._nodes}
        graph = Graph(("x",), (self._value,), list(self._nodes), dict(self._constants), types)
        for name, sizes in infer_sizes(graph).items():
            if name in types and types[name].shape is None:
                types[name] = TensorType(
                    "float32", tuple(None if size.symbols else size.factor for size in sizes)
                )
        return compile_graph(graph)

    def _layer(
        self, op: str, operands: list[str], attributes: dict[str, Any], activation: str | None
    ) -> Self:
        if activation is not None and activation not in _ACTIVATIONS:
            raise InputError(
                f"activation {activation!r} does not exist; there are {', '.join(map(repr, _ACTIVATIONS))}"
            )
        name = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(Node(op, tuple(operands), (name,), attributes, name))
        if activation is not None:
            applied = f"{name}.{activation}"
            self._nodes.append(activation_node(name, applied, dict(_ACTIVATIONS[activation]), applied))
            name = applied
        self._value = name
        return self

    def _bias(self, bias: ArrayLike | None, count: int) -> list[str]:
        if bias is None:
            return []
        array = _floats(bias, "bias", 1)
        if array.shape != (count,):
            raise InputError(f"expected a bias of {count} numbers, got {array.shape}")
        return [self._constant(array)]

    def _constant(self, array: NDArray[np.float32]) -> str:
        name = f"c{len(self._constants)}"
        self._constants[name] = array
        return name


def _floats(value: ArrayLike, what: str, rank: int) -> NDArray[np.float32]:
    array = np.asarray(value)
    if array.ndim != rank or array.dtype.kind not in "fiu" or array.size == 0:
        raise InputError(f"expected {what} of {rank} dimensions, got {array.dtype} of shape {array.shape}")
    array = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"{what} hold NaN or infinite values")
    return array
