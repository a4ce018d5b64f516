"""One side of a comparison, in a process of its own: ``python -m bench.worker SIDE SETTINGS``.

Answers each line on stdin (``turn``, ``result``, ``finish``) with a line of JSON on stdout.
"""

from __future__ import annotations

import gc
import json
import logging
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import flow_peers, memory

# What a side gives: the call to time, and what it computes in a form that JSON can carry.
Side = tuple[Callable[[], Any], Callable[[], Any]]

# Long enough for many calls of a small model, and to see whether threads still spin.
TURN_S = 0.1
REST_S = 0.02


def vedette_model(path: str, x: str, threads: int, output: str, precision: str = "float32") -> Side:
    """A model on Vedette's engine."""
    import vedette

    model = vedette.load(path, threads=threads, precision=precision)
    array = np.load(x)
    return lambda: model(array), lambda: _saved(model(array), output)


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


def vedette_ocr(images: list[str], threads: int, models: str, precision: str = "auto") -> Side:
    """Whole images read by Vedette."""
    import vedette

    reader = vedette.ocr.Reader(models=models, threads=threads, precision=precision)
    arrays = [vedette.image.load(path) for path in images]

    def read() -> list[str]:
        return [reader.read(array).text for array in arrays]

    return read, read


def rapidocr_ocr(images: list[str], threads: int, models: str) -> Side:
    """Whole images read by RapidOCR on ONNX Runtime, with the same model files."""
    from PIL import Image
    from rapidocr import RapidOCR

    logging.disable(logging.CRITICAL)
    if models != "ppocr-v6-small":
        raise SystemExit("RapidOCR carries the models of ppocr-v6-small only")
    ocr = RapidOCR(params={"Global.use_cls": False, "EngineConfig.onnxruntime.intra_op_num_threads": threads})
    arrays = [np.asarray(Image.open(path).convert("RGB"))[:, :, ::-1].copy() for path in images]

    def read() -> list[str]:
        return ["\n".join(ocr(array).txts or ()) for array in arrays]

    return read, read


def turn(call: Callable[[], Any]) -> dict[str, float]:
    """Seconds of a call: one where it is long, else the mean of as many as fill a turn.

    A short first call is not counted: it finds the caches as the other side left them. A turn ends when the
    process
    has come to rest: threads that spin after their work would take a core from the other side.
    """
    times = _mean_of(call, 0.0)
    if times["wall"] < TURN_S:
        times = _mean_of(call, TURN_S)
    busy = 1.0
    while busy > 0.1:
        before = time.process_time()
        time.sleep(REST_S)
        busy = (time.process_time() - before) / REST_S
    return times


def _mean_of(call: Callable[[], Any], seconds: float) -> dict[str, float]:
    wall, cpu, calls = time.perf_counter(), time.process_time(), 0
    while calls == 0 or time.perf_counter() - wall < seconds:
        call()
        calls += 1
    return {"wall": (time.perf_counter() - wall) / calls, "cpu": (time.process_time() - cpu) / calls}


def _saved(output: Any, path: str) -> str:
    np.save(path, output[0] if isinstance(output, tuple) else output)
    return path


SIDES: dict[str, Callable[..., Side]] = {
    "vedette-model": vedette_model,
    "onnxruntime": onnxruntime_model,
    "openvino": openvino_model,
    "vedette-ocr": vedette_ocr,
    "rapidocr": rapidocr_ocr,
    **memory.SIDES,
    **flow_peers.SIDES,
}


def peak_mb() -> float:
    """The most memory this process had resident.

    On Linux ``ru_maxrss`` starts from what the parent had when it forked; the kernel's own mark does not.
    """
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def main(side: str, settings: dict[str, Any]) -> None:
    """Make the side ready, then answer."""
    answers, sys.stdout = sys.stdout, sys.stderr
    call, result = SIDES[side](**settings)
    gc.disable()
    print(json.dumps({"ready": side}), file=answers, flush=True)
    for line in sys.stdin:
        answer: dict[str, Any]
        match line.strip():
            case "turn":
                answer = turn(call)
            case "result":
                answer = {"result": result()}
            case _:
                answer = {"peak_mb": peak_mb()}
        print(json.dumps(answer), file=answers, flush=True)
        if "peak_mb" in answer:
            return


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
