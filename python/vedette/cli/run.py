"""Run any ONNX model and say what came out of it.

An input is given as NAME=SOURCE, or as SOURCE alone where the model has one input. SOURCE is a .npy file; an
image, which becomes RGB from 0 to 1, resized to the height and width that the model states; or random, which
may carry a shape, as in random:1x3x640x640. Inputs not given are random where the model states their whole
shape.

examples:
  vedette run net.onnx --profile
  vedette run net.onnx --input photo.jpg --output y.npz
  vedette run net.onnx --input x=random:1x3x640x640 --repeat 20
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vedette.cli.arguments import IMAGE_SUFFIXES, thread_count
from vedette.cli.terminal import print_json, print_table, report_error, table
from vedette.errors import InputError, UnsupportedModelError

if TYPE_CHECKING:
    from vedette.model import Model, Port

MOST_RANDOM_ELEMENTS = 1 << 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``vedette run``."""
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="an .onnx or .vedette file")
    add("--input", dest="inputs", metavar="[NAME=]SOURCE", action="append", default=[])
    add("--output", metavar="FILE.npz", type=Path, help="write every output there, by name")
    add("--profile", action="store_true", help="show what each node took")
    add("--repeat", metavar="N", type=_count, default=1, help="run N times and show the times")
    add("--threads", metavar="N", type=thread_count, help="default: the cores this process may use")
    add("--engine", choices=("native", "onnxruntime"), default="native")
    add("--json", action="store_true", help="write JSON to stdout")


def run(chosen: argparse.Namespace) -> int:
    """Run ``vedette run``."""
    from vedette.model import load

    start = time.perf_counter()
    try:
        model = load(chosen.model, threads=chosen.threads, engine=chosen.engine)
    except UnsupportedModelError as error:
        report_error(error, f"vedette run --engine onnxruntime {chosen.model}")
        return 1
    loaded_s = time.perf_counter() - start
    inputs = _inputs(model, chosen.inputs)
    seconds = []
    for _ in range(chosen.repeat):
        start = time.perf_counter()
        outputs = model.run(inputs)
        seconds.append(time.perf_counter() - start)
    profile = model.profile(inputs) if chosen.profile else None
    if chosen.output is not None:
        with chosen.output.open("wb") as file:
            np.savez(file, **outputs)  # type: ignore[arg-type]
    if chosen.json:
        print_json(
            {
                "model": str(chosen.model),
                "load_ms": loaded_s * 1e3,
                "run_ms": [1e3 * value for value in seconds],
                "inputs": {name: _facts(array) for name, array in inputs.items()},
                "outputs": {name: _facts(array) for name, array in outputs.items()},
                **({"profile": profile.to_dict()} if profile is not None else {}),
            }
        )
        return 0
    made = table("output", "type", "shape", "min", "max", "mean", right=("min", "max", "mean"))
    for name, array in outputs.items():
        facts = _facts(array)
        numbers = ["" if facts[key] is None else f"{facts[key]:.6g}" for key in ("min", "max", "mean")]
        made.add_row(name, facts["dtype"], "x".join(map(str, array.shape)) or "scalar", *numbers)
    print_table(made)
    print(f"\nload {loaded_s * 1e3:.1f} ms, run {_times(seconds)}")
    if profile is not None:
        print(f"\n{profile}")
    return 0


def _times(seconds: list[float]) -> str:
    if len(seconds) == 1:
        return f"{seconds[0] * 1e3:.2f} ms"
    return (
        f"{len(seconds)} times: first {seconds[0] * 1e3:.2f} ms, median "
        f"{statistics.median(seconds) * 1e3:.2f} ms, least {min(seconds) * 1e3:.2f} ms"
    )


def _facts(array: NDArray[Any]) -> dict[str, Any]:
    """Type, shape and range of an array; the range is None where there are no finite numbers."""
    facts: dict[str, Any] = {"dtype": str(array.dtype), "shape": list(array.shape)}
    numbers = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if numbers.size == 0 or array.dtype.kind not in "biuf":
        return facts | {"min": None, "max": None, "mean": None}
    mean = float(np.mean(numbers, dtype=np.float64))
    return facts | {"min": float(numbers.min()), "max": float(numbers.max()), "mean": mean}


def _inputs(model: Model, given: list[str]) -> dict[str, NDArray[Any]]:
    """An array for every input of the model."""
    ports = {port.name: port for port in model.inputs}
    sources: dict[str, str] = {}
    for argument in given:
        # An input's name may itself contain "=", so the longest name that fits is meant.
        named = [name for name in ports if argument.startswith(f"{name}=")]
        if named:
            name = max(named, key=len)
            sources[name] = argument[len(name) + 1 :]
        elif len(ports) == 1 and not _names_something_else(argument):
            sources[next(iter(ports))] = argument
        else:
            raise InputError(f"--input {argument}: the inputs are {', '.join(ports) or 'none'}")
    return {name: _array(port, sources.get(name, "random")) for name, port in ports.items()}


def _names_something_else(argument: str) -> bool:
    name, equals, _ = argument.partition("=")
    return bool(equals) and not Path(argument).exists() and not name.startswith(("random", "/", "."))


def _array(port: Port, source: str) -> NDArray[Any]:
    kind, _, shape = source.partition(":")
    if kind == "random":
        return _random(port, shape)
    path = Path(source)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return image_input(port, path)
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"input {port.name}: {path}: {reason}; expected an image, a .npy file or random"
        ) from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"input {port.name}: {path} holds several arrays; expected a .npy file")
    return array


def _random(port: Port, text: str) -> NDArray[Any]:
    """Numbers from a fixed seed: normal for floats, 0 and 1 for the rest."""
    if text:
        sizes = text.split("x")
        if not all(size.isascii() and size.isdecimal() for size in sizes):
            raise InputError(f"input {port.name}: {text!r} is no shape; write it as 1x3x224x224")
        shape = tuple(map(int, sizes))
    elif port.shape is not None and all(isinstance(size, int) for size in port.shape):
        shape = tuple(int(size) for size in port.shape if size is not None)
    else:
        raise InputError(f"input {port}: its shape is free; give one: --input {port.name}=random:1x3x640x640")
    if np.prod(shape, dtype=object) > MOST_RANDOM_ELEMENTS:
        raise InputError(f"input {port.name}: {text} is more than {MOST_RANDOM_ELEMENTS} elements")
    rng = np.random.default_rng(0)
    dtype = np.dtype(port.dtype or "float32")
    if dtype.kind == "f":
        return rng.standard_normal(shape, dtype=np.float32).astype(dtype)
    zeros_and_ones: NDArray[Any] = rng.integers(0, 2, shape).astype(dtype)
    return zeros_and_ones


def image_input(port: Port, path: Path) -> NDArray[Any]:
    """The image as 1x3xHxW, in the model's height and width where it states them."""
    from PIL import Image

    from vedette import image

    pixels = image.load(path)
    if port.shape is None or len(port.shape) != 4 or port.shape[1] not in (3, None):
        raise InputError(f"input {port}: an image needs an input of shape 1x3xHxW; give a .npy file")
    height, width = (
        size if isinstance(size, int) else actual
        for size, actual in zip(port.shape[2:], pixels.shape[:2], strict=True)
    )
    if pixels.shape[:2] != (height, width):
        resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized)
    return (pixels.transpose(2, 0, 1)[None] / np.float32(255)).astype(port.dtype or "float32")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a number from 1, got {text!r}")
    return int(text)
