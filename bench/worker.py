"""The sides that need models: ``python -m bench.worker SIDE SETTINGS``, as :mod:`vedette.bench.worker`."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from vedette.bench.worker import Side, serve


def vedette_model(path: str, x: str, threads: int, output: str, precision: str = "float32") -> Side:
    """A model on Vedette's engine."""
    import vedette

    model = vedette.load(path, threads=threads, precision=precision)
    array = np.load(x)
    return lambda: model(array), lambda: _saved(model(array), output)


def vedette_whole_maps(path: str, x: str, threads: int, output: str) -> Side:
    """A model on Vedette's engine, every step on whole maps."""
    from vedette._native import supported_operators
    from vedette.model.native_engine import NativeEngine, compile_graph
    from vedette.model.onnx_reader import read

    graph = compile_graph(read(path, supported_operators()).graph)
    engine = NativeEngine.of(graph, threads, strip_bytes=0)
    array = np.load(x)
    return lambda: engine.run([array]), lambda: _saved(engine.run([array])[0], output)


def onnxruntime_model(path: str, x: str, threads: int, output: str) -> Side:
    """A model on ONNX Runtime, with its defaults but for the number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.load(x)}
    return lambda: session.run(None, feed), lambda: _saved(session.run(None, feed)[0], output)


def openvino_model(path: str, x: str, threads: int, output: str) -> Side:
    """A model on OpenVINO, with its defaults but for the number of threads: bfloat16 where the CPU has it."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    request, array = compiled.create_infer_request(), np.load(x)
    return lambda: request.infer([array]), lambda: _saved(request.infer([array])[0], output)


def vedette_load(path: str, x: str, threads: int, run: bool) -> Side:
    """A model loaded, and run once where asked."""
    import vedette

    array = np.load(x)

    def load() -> str:
        model = vedette.load(path, threads=threads)
        if run:
            model(array)
        return ""

    return load, load


def onnxruntime_load(path: str, x: str, threads: int, run: bool) -> Side:
    """A session created, and run once where asked."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    array = np.load(x)

    def load() -> str:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        if run:
            session.run(None, {session.get_inputs()[0].name: array})
        return ""

    return load, load


def vedette_ocr(images: list[str], threads: int, models: str, precision: str = "auto") -> Side:
    """Whole images read by Vedette."""
    import vedette

    reader = vedette.ocr.Reader(models=models, threads=threads, precision=precision)
    arrays = [vedette.image.load(path) for path in images]

    def read() -> list[str]:
        return [reader.read(array).text for array in arrays]

    return read, read


def rapidocr_ocr(images: list[str], threads: int, models: str, engine: str = "onnxruntime") -> Side:
    """Whole images read by RapidOCR with the same model files, its defaults but for the number of threads."""
    from PIL import Image
    from rapidocr import EngineType, RapidOCR

    from vedette import hub

    logging.disable(logging.CRITICAL)
    settings: dict[str, Any] = {"Global.use_cls": False}
    for stage, role in (("Det", "detector"), ("Cls", "classifier"), ("Rec", "recogniser")):
        settings[f"{stage}.engine_type"] = EngineType(engine)
        settings[f"{stage}.model_path"] = str(hub.file(models, role))
    number = {"onnxruntime": "intra_op_num_threads", "openvino": "inference_num_threads"}[engine]
    settings[f"EngineConfig.{engine}.{number}"] = threads
    ocr = RapidOCR(params=settings)
    arrays = [np.asarray(Image.open(path).convert("RGB"))[:, :, ::-1].copy() for path in images]

    def read() -> list[str]:
        return ["\n".join(ocr(array).txts or ()) for array in arrays]

    return read, read


def _saved(output: Any, path: str) -> str:
    np.save(path, output[0] if isinstance(output, tuple) else output)
    return path


SIDES: dict[str, Callable[..., Side]] = {
    "vedette-model": vedette_model,
    "vedette-whole-maps": vedette_whole_maps,
    "onnxruntime": onnxruntime_model,
    "openvino": openvino_model,
    "vedette-load": vedette_load,
    "onnxruntime-load": onnxruntime_load,
    "vedette-ocr": vedette_ocr,
    "rapidocr": rapidocr_ocr,
    "rapidocr-openvino": partial(rapidocr_ocr, engine="openvino"),
}


if __name__ == "__main__":
    serve(SIDES, sys.argv[1], json.loads(sys.argv[2]))
