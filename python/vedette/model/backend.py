"""ONNX's own interface to whatever runs models: lets ``onnx.backend.test`` drive the native engine.

This module is a backend itself (``vedette.model.backend.prepare(model).run(inputs)``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto
from onnx.backend.base import Backend, BackendRep, namedtupledict

from vedette import _native
from vedette.errors import UnsupportedModelError
from vedette.model.graph import Array
from vedette.model.model import Model, ports
from vedette.model.native_engine import NativeEngine, compile_graph
from vedette.model.onnx_reader import read_proto


class VedetteRepresentation(BackendRep):
    """A model that is ready to run."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def run(self, inputs: Any, **_: Any) -> tuple[Any, ...]:
        """Runs the model with a list of inputs, or a mapping by name."""
        if not isinstance(inputs, dict):
            names = [port.name for port in self.model.inputs]
            given = inputs if isinstance(inputs, Sequence) else [inputs]
            inputs = dict(zip(names, given, strict=True))
        for name, value in inputs.items():
            if not isinstance(value, (np.ndarray, np.generic)):
                raise UnsupportedModelError(f"input '{name}' is not a tensor")
        results = self.model.run(inputs)
        return tuple(namedtupledict("Outputs", list(results))(*results.values()))


class VedetteBackend(Backend):
    """The native engine as an ONNX backend."""

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **_: Any) -> bool:
        """Whether the engine has every operator of the model."""
        try:
            cls.prepare(model, device)
        except UnsupportedModelError:
            return False
        return True

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **options: Any) -> VedetteRepresentation:
        """Compiles a model.

        Parameters
        ----------
        options
            ``threads``: threads a run uses; ``isa``: instruction-set level to stay at.
        """
        if not cls.supports_device(device):
            raise UnsupportedModelError(f"device {device!r} does not exist here; there is 'CPU'")
        source = read_proto(model, _native.supported_operators())
        graph = compile_graph(source.graph)
        engine = NativeEngine.of(graph, int(options.get("threads", 0)), options.get("isa"))
        inputs, outputs = ports(graph, graph.inputs), ports(graph, graph.outputs)
        return VedetteRepresentation(Model(engine, inputs, outputs, source.metadata))

    @classmethod
    def run_model(
        cls, model: ModelProto, inputs: Any, device: str = "CPU", **options: Any
    ) -> tuple[Array, ...]:
        """Compiles a model and runs it once."""
        return cls.prepare(model, device, **options).run(inputs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether there is such a device: the CPU, and nothing else."""
        return device.split(":")[0] == "CPU"


prepare = VedetteBackend.prepare
run_model = VedetteBackend.run_model
supports_device = VedetteBackend.supports_device
is_compatible = VedetteBackend.is_compatible
