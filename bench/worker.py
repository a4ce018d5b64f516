"""One side of a comparison, in a process of its own: ``python -m bench.worker SIDE SETTINGS``.

Answers each line on stdin (``call``, ``result``, ``finish``) with a line of JSON on stdout.
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

from bench import memory

# What a side gives: the call to time, and what it computes in a form that JSON can carry.
Side = tuple[Callable[[], Any], Callable[[], Any]]


def vedette_model(path: str, x: str, threads: int, output: str) -> Side:
    """A model on Vedette's engine."""
    import vedette

    model = vedette.load(path, threads=threads)
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


def vedette_ocr(images: list[str], threads: int, models: str) -> Side:
    """Whole images read by Vedette."""
    import vedette

    reader = vedette.ocr.Reader(models=models, threads=threads)
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


def _saved(output: Any, path: str) -> str:
    np.save(path, output[0] if isinstance(output, tuple) else output)
    return path


SIDES: dict[str, Callable[..., Side]] = {
    "vedette-model": vedette_model,
    "onnxruntime": onnxruntime_model,
    "vedette-ocr": vedette_ocr,
    "rapidocr": rapidocr_ocr,
    **memory.SIDES,
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
            case "call":
                wall, cpu = time.perf_counter(), time.process_time()
                call()
                answer = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            case "result":
                answer = {"result": result()}
            case _:
                answer = {"peak_mb": peak_mb()}
        print(json.dumps(answer), file=answers, flush=True)
        if "peak_mb" in answer:
            return


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
