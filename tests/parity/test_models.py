"""Do whole models give what ONNX Runtime gives, at every instruction-set level, with one thread and two?"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from bench.reference_networks import NETWORKS
from PIL import Image, ImageDraw, ImageFont

from vedette import _native, hub
from vedette.model.graph import Array, Graph
from vedette.model.native_engine import NativeEngine, compile_graph
from vedette.model.onnx_reader import read_proto

Shape = tuple[int, ...]

# A batch, a single pixel row's worth of remainders, and widths that divide by nothing.
_READING: dict[tuple[str, str], list[Shape]] = {
    ("ppocr-v6-small", "detector"): [(1, 3, 64, 96), (2, 3, 96, 32), (1, 3, 160, 224)],
    ("ppocr-v6-small", "recogniser"): [(1, 3, 48, 64), (3, 3, 48, 100), (1, 3, 48, 321)],
    ("ppocr-v6-small", "classifier"): [(1, 3, 48, 192), (4, 3, 48, 192)],
    ("ppocr-v4-mobile", "detector"): [(1, 3, 64, 96), (2, 3, 96, 32), (1, 3, 160, 224)],
    ("ppocr-v4-mobile", "recogniser"): [(1, 3, 48, 64), (3, 3, 48, 100), (1, 3, 48, 321)],
}
_LIGHT = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet",
    "vgg19", "zfnet512",
)  # fmt: skip

MODELS = [
    *(f"{package}/{role}" for package, role in _READING),
    *(f"reference/{name}" for name in NETWORKS),
    *(f"light/{name}" for name in _LIGHT),
]

# What was asked for: far above the rounding of float32 sums in another order, far below a wrong formula.
_TOLERANCE = 1e-4


def proto(name: str) -> tuple[onnx.ModelProto, list[Shape]]:
    kind, _, part = name.partition("/")
    if kind == "reference":
        return NETWORKS[part](), [(1, 3, 224, 224)]
    if kind == "light":
        folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
        return onnx.load(folder / f"light_{part}.onnx"), [(1, 3, 224, 224)]
    return onnx.load(hub.file(kind, part)), _READING[kind, part]


@lru_cache(maxsize=1)
def prepared(name: str) -> tuple[Graph, list[tuple[list[Array], list[Array]]]]:
    """The compiled model, and pairs of inputs and what ONNX Runtime makes of them."""
    model, shapes = proto(name)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    pairs = []
    for shape in shapes:
        x = written(shape)
        pairs.append(([x], session.run(None, {given.name: x})))
    return compile_graph(read_proto(model, _native.supported_operators()).graph), pairs


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", _native.available_isas())
@pytest.mark.parametrize("name", MODELS)
def test_outputs_equal_those_of_onnx_runtime(name: str, isa: str, threads: int) -> None:
    graph, pairs = prepared(name)
    engine = NativeEngine.of(graph, threads, isa)
    for inputs, expected in pairs:
        # Twice: the second run takes the plan and the packed weights of the first.
        for _ in range(2):
            for actual, reference in zip(engine.run(inputs), expected, strict=True):
                assert actual.shape == reference.shape
                assert actual.dtype == reference.dtype
                assert relative_error(actual, reference) < _TOLERANCE


def written(shape: Shape) -> Array:
    """Images of dark text on a noisy light ground, from -1 to 1.

    A detector that finds no text gives nearly nothing, of which ONNX Runtime's sigmoid, which is off by up to
    1e-7, is a large part.
    """
    batch, channels, height, width = shape
    random = np.random.default_rng(7)
    font = ImageFont.load_default(max(16, min(height // 3, 40)))
    image = Image.new("L", (width, height), 230)
    for top in range(2, height, int(font.size * 1.5)):
        ImageDraw.Draw(image).text((2, top), "Vedette 1234567 always awake, travelling light", 20, font)
    plane = np.asarray(image, np.float32) / 127.5 - 1
    noise = random.normal(0, 0.05, (batch, channels, height, width))
    return np.ascontiguousarray(plane + noise, np.float32)


def relative_error(actual: Array, reference: Array) -> float:
    """The largest difference, relative to the largest value."""
    largest = float(np.abs(reference).max(initial=0.0))
    error = float(np.abs(actual - reference).max(initial=0.0)) / (largest or 1.0)
    return error if math.isfinite(error) else math.inf
