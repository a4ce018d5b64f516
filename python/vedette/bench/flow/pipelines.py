"""Pipelines of native stages, and one whose consumer takes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from vedette.bench.flow.loads import seconds
from vedette.bench.target import Target


def pipeline_throughput() -> Target:
    """Three native stages, the middle one the slowest, against that one alone."""
    import vedette as vd
    from vedette.pipeline import Pipeline

    threads = vd.runtime.get_num_threads()
    vd.runtime.set_num_threads(1)
    try:
        frame = np.random.default_rng(0).integers(0, 255, (2160, 3840, 3), dtype=np.uint8)

        def gray(x: Any) -> Any:
            return vd.image.to_gray(x)

        def smaller(x: Any) -> Any:
            for _ in range(4):
                small = vd.image.resize(x, (1080, 1920), antialias=True)
            return small

        def binary(x: Any) -> Any:
            return vd.image.threshold(x, 128)

        count = 60
        gray_frame = gray(frame)
        alone = ((gray, frame), (smaller, gray_frame), (binary, smaller(gray_frame)))
        slowest = max(seconds(lambda s=stage, x=x: [s(x) for _ in range(count)]) for stage, x in alone)  # type: ignore[misc]
        with Pipeline(gray, smaller, binary) as pipeline:
            took = seconds(lambda: sum(1 for _ in pipeline.stream([frame] * count)))
    finally:
        vd.runtime.set_num_threads(threads)
    return Target("pipeline of three native stages, of the slowest's own", slowest / took, "x", 0.95, True)


def stalled_consumer() -> Target:
    """Growth of memory while a consumer takes nothing from an endless source of frames."""
    from vedette.pipeline import Pipeline
    from vedette.runtime.resident import resident_bytes

    def frames() -> Iterator[Any]:
        while True:
            yield np.ones((1080, 1920, 3), np.uint8)

    with Pipeline(lambda x: x, lambda x: x) as pipeline:
        stream = pipeline.stream(frames())
        for _ in range(50):
            next(stream)
        time.sleep(0.5)
        before = resident_bytes() or 0
        time.sleep(3)
        growth = ((resident_bytes() or 0) - before) / 1e6
    return Target("pipeline, consumer stalled for 3 s: memory grows by", growth, "MB", 1.0, False)
