"""Vedette in integers and bfloat16 against ONNX Runtime and OpenVINO; its reading models as they come.

The reference networks are quantised by Vedette and, as QDQ with weights by channel (ViT dynamically), by ONNX
Runtime's own tool; ONNX Runtime and OpenVINO run what that made. The agreement is the signal-to-noise ratio
of each side's output against the float32 model; of the recogniser, whether the text is the same.
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
from bench import footprint, reference_networks
from bench.model import text
from bench.onnx_builder import OnnxNet
from vedette import hub
from vedette.bench.pairs import Record, Worker, compare
from vedette.quantization import sqnr

_CALIBRATION = 8


TARGETS = {
    ("resnet50 INT8", "openvino"): 0.95,
    ("mobilenet_v2 INT8", "openvino"): 0.6,
    ("vit_tiny bfloat16", "openvino"): 0.55,
    ("20-layer CNN 64x64 INT8", "onnxruntime"): 0.5,
    ("mlp 64-128-10 INT8", "onnxruntime"): 0.5,
    ("INT4 matrix-vector 4096x4096", "onnxruntime"): 0.7,
    ("detector 1088x1920 auto", "openvino"): 0.4,
    ("recogniser 48x1600 auto", "openvino"): 0.4,
}
"""The most that is wanted of the ratio of CPU seconds, of a case beside a peer."""


def run(threads: list[int], pairs: int, only: str = "") -> Iterator[Record | footprint.Size]:
    """The networks, a matrix of four bits, the reading models; then what the networks take.

    Of all that, the cases with ``only`` in the name.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        networks = [*_networks(scratch, only)]
        cases = [*networks, *(case for case in (_four_bits(scratch), *_reading()) if only in case[0])]
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

                    def agree(
                        a: str, b: str, exact: str = str(scratch / "exact.npy"), read: bool = "recog" in case
                    ) -> str:
                        found = [np.load(side) for side in (exact, a, b)]
                        if read:
                            return "same text: {} / {}".format(*(same_text(found[0], y) for y in found[1:]))
                        return "SQNR {:.1f} / {:.1f} dB".format(*(sqnr(found[0], y) for y in found[1:]))

                    few = max(4, pairs // 4) if "detector" in case else pairs
                    yield compare(
                        "quantize",
                        case,
                        mine,
                        theirs,
                        threads=count,
                        pairs=few,
                        agree=agree,
                        cpu_target=TARGETS.get((case, side)),
                    )
        # What takes no file of its own in fewer bits is as large as its ONNX file.
        saved = [case for case in networks if "precision" not in case[3]]
        yield from _footprints(scratch, saved, threads, pairs)


def same_text(exact: Any, found: Any) -> str:
    """Whether the best characters of all time steps, joined as CTC does, are those of float32.

    Steps at the edge of a character go either way by little; the text is the same. As a noise of
    probabilities one such step weighs as much as a wrong character.
    """
    one, other = (np.asarray(y).argmax(-1).reshape(-1).tolist() for y in (exact, found))
    texts = [
        [now for before, now in zip([0, *steps[:-1]], steps, strict=True) if now not in (0, before)]
        for steps in (one, other)
    ]
    return "yes" if texts[0] == texts[1] else "no"


Case = tuple[str, np.ndarray[Any, Any], Path, dict[str, str], list[tuple[str, Path]]]


def _footprints(
    scratch: Path, networks: list[Case], threads: list[int], pairs: int
) -> Iterator[Record | footprint.Size]:
    for case, x, exact, ours, peers in networks:
        yield footprint.size(case, exact, Path(ours["path"]), x, 0.27)
        np.save(scratch / "input.npy", x)
        for count in threads:
            rows = (case, Path(ours["path"]), peers[0][1], scratch / "input.npy", count, pairs)
            yield from footprint.loading(*rows)
    for case, x, exact, _, _ in networks:
        if exact.stem == "vit_tiny":
            made = vedette.quantize(exact, [x], precision="int4").save(exact.with_name("vit-int4.vedette"))
            yield footprint.size(case.replace("INT8", "INT4"), exact, made, x, 0.15)


def _networks(scratch: Path, only: str) -> Iterator[Case]:
    random = np.random.default_rng(1)
    images = [random.standard_normal((1, 3, 224, 224), dtype=np.float32) for _ in range(_CALIBRATION)]
    for name, path in reference_networks.write(scratch).items():
        if only in f"{name} INT8":
            yield _case(name, path, images, dynamic=name == "vit_tiny")
        if only in f"{name} bfloat16":
            # Against what OpenVINO does by default: bfloat16 where the CPU has it.
            ours = {"path": str(path), "precision": "bfloat16"}
            yield f"{name} bfloat16", images[0], path, ours, [("openvino", path)]
    onnx.save(reference_networks.small(), scratch / "small.onnx")
    frames = [random.standard_normal((1, 3, 64, 64), dtype=np.float32) for _ in range(_CALIBRATION)]
    vectors = [random.standard_normal((1, 64), dtype=np.float32) for _ in range(_CALIBRATION)]
    if only in "20-layer CNN 64x64 INT8":
        yield _case("20-layer CNN 64x64", scratch / "small.onnx", frames, dynamic=False)
    if only in "mlp 64-128-10 INT8":
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


def _four_bits(scratch: Path, size: int = 4096, group: int = 32) -> Case:
    """A vector times a square matrix of four bits, as ONNX Runtime's own operator has it."""
    net = OnnxNet(seed=5)
    blocks = size // group
    packed = net.random.integers(0, 256, (size, blocks, group // 2), dtype=np.uint8)
    scales = net.random.uniform(0.01, 0.03, (size, blocks)).astype(np.float32)
    x = net.input("x", 1, size)
    # Level 4 lets ONNX Runtime multiply in integers, which is its fastest.
    settings = {"K": size, "N": size, "bits": 4, "block_size": group, "accuracy_level": 4}
    operands = (x, net.constant(packed, np.uint8), net.constant(scales))
    model = net.model(net.op("MatMulNBits", *operands, domain="com.microsoft", **settings))
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    path, exact = scratch / "int4.onnx", scratch / "int4-exact.onnx"
    onnx.save(model, path)

    halves = np.stack([packed & 15, packed >> 4], axis=-1).reshape(size, blocks, group)
    weights = (halves.astype(np.float32) - 8) * scales[..., None]
    net = OnnxNet()
    x = net.input("x", 1, size)
    onnx.save(net.model(net.op("MatMul", x, net.constant(weights.reshape(size, size).T))), exact)
    vector = np.random.default_rng(6).standard_normal((1, size), dtype=np.float32)
    case = f"INT4 matrix-vector {size}x{size}"
    return case, vector, exact, {"path": str(path)}, [("onnxruntime", path)]


def _reading() -> Iterator[Case]:
    shapes = (("detector", 1088, 1920), ("recogniser", 48, 320), ("recogniser", 48, 1600))
    for precision in ("auto", "fast", "bfloat16"):
        for role, height, width in shapes:
            path = hub.file("ppocr-v6-small", role)
            ours = {"path": str(path), "precision": precision}
            case = f"{role} {height}x{width} {precision}"
            yield case, text(height, width), path, ours, [("onnxruntime", path), ("openvino", path)]
