"""Models run by ONNX Runtime, behind the same face: for operators that the native engine does not have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vedette.errors import InvalidModelError, ModelError
from vedette.model.graph import Array
from vedette.model.model import Model, Port

_DTYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "int8": "int8", "uint8": "uint8",
    "int16": "int16", "uint16": "uint16", "int32": "int32", "uint32": "uint32", "int64": "int64",
    "uint64": "uint64", "bool": "bool",
}  # fmt: skip


class OnnxRuntimeEngine:
    """An ONNX Runtime session."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = [value.name for value in session.get_inputs()]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Runs the model; inputs and outputs are in the order of the model's."""
        results: list[Array] = self._session.run(None, dict(zip(self._names, inputs, strict=True)))
        return results

    def profile(self, inputs: Sequence[Array]) -> tuple[list[Array], Sequence[Any]]:  # noqa: ARG002
        """ONNX Runtime writes its own profiles, to files."""
        raise ModelError(
            'only the native engine tells what each node takes; load the model without engine="onnxruntime"'
        )

    def memory(self) -> dict[str, int]:
        """ONNX Runtime does not say."""
        return {}


def load_with_onnxruntime(path: Path, threads: int | None) -> Model:
    """Loads a model into ONNX Runtime."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise ModelError(
            "ONNX Runtime is not installed; install it: pip install 'vedette[onnxruntime]'"
        ) from None
    if not path.is_file():
        raise InvalidModelError(f"cannot read {path}: there is no such file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class but this one
        raise InvalidModelError(
            f"ONNX Runtime refuses {path}: {str(error).strip().splitlines()[0]}"
        ) from error
    inputs, outputs = (
        [_port(value) for value in values] for values in (session.get_inputs(), session.get_outputs())
    )
    metadata = session.get_modelmeta().custom_metadata_map
    return Model(OnnxRuntimeEngine(session), inputs, outputs, metadata, path)


def _port(value: Any) -> Port:
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(
        size if isinstance(size, str) or (isinstance(size, int) and size > 0) else None
        for size in value.shape
    )
    return Port(value.name, _DTYPES.get(kind), shape)
