"""The functions under test: bytes in, nothing but ``VedetteError`` out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import vedette
from vedette import VedetteError, _native
from vedette.errors import NativeError


def image(data: bytes) -> None:
    """Decodes an image."""
    try:
        pixels = vedette.image.load(data)
    except NativeError:
        raise
    except VedetteError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3


def model(data: bytes) -> None:
    """Loads an ONNX file and runs what comes of it on small inputs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fuzzed.onnx"
        path.write_bytes(data)
        try:
            loaded = vedette.load(path, threads=1)
            inputs = {}
            for port in loaded.inputs:
                shape = [size if isinstance(size, int) else 4 for size in port.shape or ()]
                if port.dtype and np.prod(shape, dtype=float) < 1e6:
                    inputs[port.name] = np.ones(shape, port.dtype)
            loaded.run(inputs)
        except NativeError:
            raise
        except VedetteError:
            return


def program(data: bytes) -> None:
    """Builds an engine from the JSON of a program and runs it."""
    try:
        engine = _native.Engine(data.decode(errors="replace"), [], threads=1)
        engine.run([np.ones((2, 3), np.float32)])
    except NativeError:
        raise
    except VedetteError:
        return


TARGETS = {"image": image, "model": model, "program": program}
