"""The functions under test: bytes in, nothing but ``VedetteError`` out."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

import vedette
from vedette import VedetteError, _native
from vedette.errors import NativeError
from vedette.model.integer.recipe import digest_of, parse_recipe


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
    _load_and_run(data, "fuzzed.onnx")


def saved(data: bytes) -> None:
    """The same of a file that ``Model.save`` writes."""
    _load_and_run(data, "fuzzed.vedette")


def recipe(data: bytes) -> None:
    """Reads a recipe and, if it is one, makes a model by it, as though it were for that model."""
    path, digest = _model_for_recipes()
    try:
        parsed = parse_recipe(data.decode(errors="replace"), "fuzzed.json")
        made = vedette.load(path, precision="fast", recipe=replace(parsed, model=digest), threads=1)
        made(np.ones((1, 3, 8, 8), np.float32))
    except NativeError:
        raise
    except VedetteError:
        return


@cache
def _model_for_recipes() -> tuple[Path, str]:
    from fuzz.seeds import small_network

    # As long as the process; libFuzzer ends by _exit, and the system's temporary folder is its owner.
    path = Path(tempfile.mkdtemp(prefix="fuzz-recipe-")) / "net.onnx"
    path.write_bytes(small_network())
    return path, digest_of(path)


def _load_and_run(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        try:
            loaded = vedette.load(path, threads=1)
            inputs = {}
            for port in loaded.inputs:
                shape = [size if isinstance(size, int) and size >= 0 else 4 for size in port.shape or ()]
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


TARGETS = {"image": image, "model": model, "program": program, "recipe": recipe, "saved": saved}
