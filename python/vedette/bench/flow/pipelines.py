"""Pipelines of native stages, and one whose consumer takes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

import numpy as np

from vedette.bench.flow.loads import seconds
from vedette.bench.target import Target, middle

FRAMES = 200
"""So many that the first and the last, beside which not all stages have work, do not count."""

DIFFERENT = 6
"""Frames that take turns: one alone would still be in the caches when a stage by itself comes back to it."""

ROUNDS = 5


def pipeline_throughput() -> Target:
    """Three native stages, the middle one the slowest, against that one alone."""
    import vedette as vd
    from vedette.pipeline import Pipeline

    threads = vd.runtime.get_num_threads()
    vd.runtime.set_num_threads(1)
    try:
        random = np.random.default_rng(0)
        frames = [random.integers(0, 255, (2160, 3840, 3), dtype=np.uint8) for _ in range(DIFFERENT)]

        def each(stage: Callable[[Any], Any], given: list[Any]) -> None:
            for x in islice(cycle(given), FRAMES):
                stage(x)

        def gray(x: Any) -> Any:
            return vd.image.to_gray(x)

        def smaller(x: Any) -> Any:
            for _ in range(4):
                small = vd.image.resize(x, (1080, 1920), antialias=True)
            return small

        def binary(x: Any) -> Any:
            return vd.image.threshold(x, 128)

        grays = [gray(frame) for frame in frames]
        stages = ((gray, frames), (smaller, grays), (binary, [smaller(x) for x in grays]))
        loads = [lambda stage=stage, given=given: each(stage, given) for stage, given in stages]
        slowest = max(loads, key=seconds)
        with Pipeline(gray, smaller, binary) as pipeline:
            # In turn, as a machine's speed changes from second to second.
            ratio, note = middle(
                [
                    seconds(slowest)
                    / seconds(lambda: sum(1 for _ in pipeline.stream(islice(cycle(frames), FRAMES))))
                    for _ in range(ROUNDS)
                ]
            )
    finally:
        vd.runtime.set_num_threads(threads)
    return Target("pipeline of three native stages, of the slowest's own", ratio, "x", 0.95, True, note)


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
