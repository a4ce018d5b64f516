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


def pixels(data: bytes) -> None:
    """Runs a kernel on a view that the bytes describe; every level must give the same bits."""
    if len(data) < 12:
        return
    kind, height, width, channels, row_step, column_step, threads, *options = data[:12]
    height, width, channels = height % 48 + 1, width % 200 + 1, channels % 4 + 1
    steps = [(1, -1, 2, -2)[step % 4] for step in (row_step, column_step)]
    base = np.resize(np.frombuffer(data, np.uint8), (2 * height, 2 * width, channels))
    image = base[:: steps[0], :: steps[1]][:height, :width]
    size = (options[0] % 17 * 2 + 1, options[1] % 17 * 2 + 1)
    numbers = np.frombuffer(np.resize(np.frombuffer(data, np.uint8), 72).tobytes(), np.float64)
    source, target = (SPACES[option % len(SPACES)] for option in options[2:4])
    # Sides that camera formats have, and the channels of the source.
    shape = (height // 6 * 6 + 6, width // 2 * 2 + 2, COUNTS.get(source, 3))
    colours = np.resize(base, (2 * shape[0], *shape[1:]))[
        :: 2 if steps[0] > 0 else -2, :: 1 if steps[1] > 0 else -1
    ]
    calls = (
        lambda isa: _native.blur(image, size, None, bool(options[2] % 2), None, threads % 2 + 1, isa),
        lambda isa: _native.blur(image, size, (numbers[0], numbers[1]), False, None, threads % 2 + 1, isa),
        lambda isa: _native.convert_color(colours, source, target, None, threads % 2 + 1, isa),
        lambda isa: _native.warp(
            image,
            numbers.reshape(3, 3).tolist(),
            size,
            False,
            9,
            bool(options[4] % 2),
            None,
            threads % 2 + 1,
            isa,
        ),
        lambda isa: _native.warp(
            image, (numbers % 3).reshape(3, 3).tolist(), size, False, 9, False, None, threads % 2 + 1, isa
        ),
    )
    call = calls[kind % len(calls)]
    try:
        results = [call(isa) for isa in _native.available_isas()]
    except NativeError:
        raise
    except VedetteError:
        return
    assert all(np.array_equal(results[0], other) for other in results[1:])


COUNTS = {"gray": 1, "nv12": 1, "i420": 1, "yuyv": 2, "rgba": 4, "bgra": 4}
SPACES = ("rgb", "bgr", "rgba", "bgra", "gray", "hsv", "yuv", "nv12", "i420", "yuyv")


def program(data: bytes) -> None:
    """Builds an engine from the JSON of a program and runs it."""
    try:
        engine = _native.Engine(data.decode(errors="replace"), [], threads=1)
        engine.run([np.ones((2, 3), np.float32)])
    except NativeError:
        raise
    except VedetteError:
        return


TARGETS = {
    "image": image,
    "model": model,
    "pixels": pixels,
    "program": program,
    "recipe": recipe,
    "saved": saved,
}
