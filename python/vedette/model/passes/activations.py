"""Unary float32 functions become one operator, so that others can take them into their epilogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vedette.model.graph import Graph, Node
from vedette.model.rewriting import Editor, rewrite

Activation = dict[str, Any]


def _plain(kind: str) -> Callable[[Node], Activation]:
    return lambda _: {"kind": kind}


def _with(kind: str, *names: str) -> Callable[[Node], Activation]:
    return lambda node: {"kind": kind, **{name: float(node.attributes[name]) for name in names}}


ACTIVATIONS: dict[str, Callable[[Node], Activation]] = {
    "Celu": _with("celu", "alpha"),
    "Elu": _with("elu", "alpha"),
    "Erf": _plain("erf"),
    "Exp": _plain("exp"),
    "Gelu": lambda node: {"kind": "gelu_tanh" if node.attributes["approximate"] == "tanh" else "gelu"},
    "HardSigmoid": _with("hard_sigmoid", "alpha", "beta"),
    "HardSwish": _plain("hard_swish"),
    "LeakyRelu": _with("leaky_relu", "alpha"),
    "Mish": _plain("mish"),
    "Relu": _plain("relu"),
    "Selu": _with("selu", "alpha", "gamma"),
    "Sigmoid": _plain("sigmoid"),
    "Softplus": _plain("softplus"),
    "Softsign": _plain("softsign"),
    "Swish": _with("silu", "alpha"),
    "Tanh": _plain("tanh"),
    "ThresholdedRelu": _with("thresholded_relu", "alpha"),
}
"""ONNX operators that are an activation, and how their attributes say which."""


def lower_activations(graph: Graph) -> Graph:
    """Writes Relu, Sigmoid, Clip with constant bounds and the like on float32 as Activation."""
    return rewrite(graph, _lower)


def activation_node(x: str, output: str, activation: Activation, name: str) -> Node:
    """An Activation node."""
    return Node("Activation", (x,), (output,), {"activation": activation}, name)


def activation_of(node: Node | None, kind: str) -> Activation | None:
    """The activation of a node, if it is an Activation of that kind."""
    if node is None or node.op != "Activation":
        return None
    activation: Activation = node.attributes["activation"]
    return activation if activation["kind"] == kind else None


def _lower(editor: Editor, node: Node) -> None:
    if node.op not in ACTIVATIONS and node.op != "Clip":
        return
    x = node.inputs[0]
    if x is None or not editor.graph.is_float32(x):
        return
    activation = _clip(editor, node) if node.op == "Clip" else ACTIVATIONS[node.op](node)
    if activation is not None:
        editor.replace([node], [activation_node(x, node.output, activation, node.name)], at=node)


def _clip(editor: Editor, node: Node) -> Activation | None:
    activation: Activation = {"kind": "clip"}
    for at, bound in ((1, "min"), (2, "max")):
        if node.input(at) is not None:
            number = editor.scalar(node.input(at))
            if number is None or number != number:
                return None
            if abs(number) != float("inf"):
                activation[bound] = number
            elif (number > 0) == (bound == "min"):
                return None
    if activation.get("min") == 0.0 and "max" not in activation:
        return {"kind": "relu"}
    return activation
