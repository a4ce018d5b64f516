"""Quantised models: Vedette against ONNX Runtime and OpenVINO, in integers; its reading models as they come.

The reference networks are quantised by Vedette and, as QDQ with weights by channel (ViT dynamically), by ONNX
Runtime's own tool; ONNX Runtime and OpenVINO run what that made. The agreement is the signal-to-noise ratio
of each side's output against the float32 model.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import vedette
from bench import reference_networks
from bench.model import text
from bench.onnx_builder import OnnxNet
from vedette import hub
from vedette.bench.pairs import Record, Worker, compare
from vedette.quantization import sqnr

_CALIBRATION = 8


def run(threads: list[int], pairs: int) -> Iterator[Record]:
    """The reference networks, the reading models, and a perceptron of two layers."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        cases = [*_networks(scratch), *_reading()]
        for count in threads:
            for case, x, exact, ours, peers in cases:
                np.save(scratch / "input.npy", x)
                np.save(scratch / "exact.npy", vedette.load(exact)(x))
                for side, path in peers:
                    settings = {"x": str(scratch / "input.npy"), "threads": count}
                    mine = Worker(
                        "vedette-model",
                        module="bench.worker",
                        **ours,
                        **settings,
                        output=str(scratch / "ours.npy"),
                    )
                    theirs = Worker(
                        side,
                        module="bench.worker",
                        path=str(path),
                        **settings,
                        output=str(scratch / "theirs.npy"),
                    )

                    def agree(a: str, b: str, exact: str = str(scratch / "exact.npy")) -> str:
                        values = (sqnr(np.load(exact), np.load(side)) for side in (a, b))
                        return "SQNR {:.1f} / {:.1f} dB".format(*values)

                    few = max(4, pairs // 4) if "detector" in case else pairs
                    yield compare("quantize", case, mine, theirs, threads=count, pairs=few, agree=agree)


Case = tuple[str, np.ndarray[Any, Any], Path, dict[str, str], list[tuple[str, Path]]]


def _networks(scratch: Path) -> Iterator[Case]:
    random = np.random.default_rng(1)
    images = [random.standard_normal((1, 3, 224, 224), dtype=np.float32) for _ in range(_CALIBRATION)]
    for name, path in reference_networks.write(scratch).items():
        yield _case(name, path, images, dynamic=name == "vit_tiny")
    vectors = [random.standard_normal((1, 64), dtype=np.float32) for _ in range(_CALIBRATION)]
    yield _case("mlp 64-128-10", _perceptron(scratch / "mlp.onnx"), vectors, dynamic=False)


def _case(name: str, path: Path, samples: list[Any], *, dynamic: bool) -> Case:
    made = vedette.quantize(path, samples, precision="fast").save(path.with_suffix(".vedette"))
    quantized = _by_onnxruntime(path, samples, dynamic=dynamic)
    peers = [("onnxruntime", quantized), ("openvino", path if dynamic else quantized)]
    return f"{name} INT8", samples[0], path, {"path": str(made)}, peers


def _by_onnxruntime(path: Path, samples: list[Any], *, dynamic: bool) -> Path:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    logging.disable(logging.WARNING)
    target = path.with_name(f"{path.stem}-int8.onnx")
    if dynamic:
        quantize_dynamic(path, target)
        return target
    quantize_static(
        path,
        target,
        _Samples(samples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return target


class _Samples:
    """Inputs as ONNX Runtime's calibrators read them."""

    def __init__(self, samples: list[Any]) -> None:
        self._rest = iter(samples)

    def get_next(self) -> dict[str, Any] | None:
        x = next(self._rest, None)
        return None if x is None else {"x": x}


def _perceptron(path: Path) -> Path:
    net = OnnxNet(seed=3)
    x = net.input("x", 1, 64)
    hidden = net.op("Relu", net.op("Gemm", x, net.weights(64, 128), net.weights(128)))
    onnx.save(net.model(net.op("Gemm", hidden, net.weights(128, 10), net.weights(10))), path)
    return path


def _reading() -> Iterator[Case]:
    shapes = (("detector", 1088, 1920), ("recogniser", 48, 320), ("recogniser", 48, 1600))
    for precision in ("auto", "fast"):
        for role, height, width in shapes:
            path = hub.file("ppocr-v6-small", role)
            ours = {"path": str(path), "precision": precision}
            case = f"{role} {height}x{width} {precision}"
            yield case, text(height, width), path, ours, [("onnxruntime", path), ("openvino", path)]
