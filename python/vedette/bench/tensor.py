"""Tensors against NumPy: products from tiny to large, arithmetic, reductions, and two Python threads at once.

    vedette bench tensor

Large products run in a process a side, since threads of NumPy's BLAS spin for a while after a call and would
take the other side's cores. The floor is what the machine's arithmetic or its memory allows at best:
multiply-accumulates at the rate of a product that stays in the caches, bytes at the speed of a copy.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import vedette as vd
from vedette import _native, runtime
from vedette.bench.pairs import Worker
from vedette.bench.timing import HEADER, Case, Measured, copy_speed, measure, timed
from vedette.bench.worker import Side

SMALL = (2, 4, 8, 16, 32, 64, 128)
LARGE = (256, 512, 1024, 2048)


__all__ = ["HEADER", "SIDES", "run"]


def run(threads: list[int], pairs: int) -> Iterator[Measured]:
    """Measure every case with each number of threads."""
    speed = copy_speed()
    for count in threads:
        runtime.set_num_threads(count)
        rate = arithmetic_rate()
        for size in LARGE:
            for dtype in ("float32", "float64"):
                yield product(size, dtype, count, pairs, rate[dtype])
        if count == 1:
            for size in SMALL:
                yield repeated(small_product(size), pairs, speed, size**3 / rate["float32"])
            for case in cases(count):
                yield repeated(case, pairs, speed, None)
        else:
            yield two_threads(pairs, rate["float32"])
    runtime.set_num_threads(None)


def arithmetic_rate() -> dict[str, float]:
    """Multiply-accumulates in a millisecond of products of 384 x 384, which stay in L2."""
    rates = {}
    for dtype in ("float32", "float64"):
        a = np.ones((384, 384), dtype)
        out = np.empty_like(a)
        best = min(timed(lambda a=a, out=out: vd.tensor.matmul(a, a, out=out)) for _ in range(40))
        rates[dtype] = 384**3 / best
    return rates


def product(size: int, dtype: str, threads: int, pairs: int, rate: float) -> Measured:
    """A square product, a process a side, in turn."""
    ours = Worker("vedette-matmul", size=size, dtype=dtype, threads=threads)
    theirs = Worker("numpy-matmul", size=size, dtype=dtype, threads=threads)
    samples = []
    for index in range(pairs + 1):
        order = (ours, theirs) if index % 2 else (theirs, ours)
        times = {worker.side: worker.turn()[0] * 1e3 for worker in order}
        samples.append((times[ours.side], times[theirs.side]))
    # The first pair warms both up.
    samples = samples[1:]
    for worker in (ours, theirs):
        worker.finish()
    a, b, out = operands(size, dtype)
    levels = {}
    for isa in runtime.available_isas():
        if size**3 / rate < 40:
            call = lambda isa=isa: _native.matmul(a, b, out, threads, isa)  # noqa: E731
            levels[isa] = min(timed(call) for _ in range(3))
    mine, peer = zip(*samples, strict=True)
    return Measured(
        "tensor",
        f"matmul {dtype} {size}",
        "NumPy",
        threads,
        statistics.median(mine),
        statistics.median(peer),
        statistics.median(b / a for a, b in samples),
        size**3 / rate,
        levels,
        target=0.9 if dtype == "float32" else None,
    )


def operands(size: int, dtype: str) -> tuple[Any, Any, Any]:
    """Two square matrices and where their product goes."""
    random = np.random.default_rng(0)
    a, b = (random.random((size, size)).astype(dtype) for _ in range(2))
    return a, b, np.empty_like(a)


def _matmul(size: int, dtype: str, multiply: Callable[..., Any]) -> Side:
    a, b, out = operands(size, dtype)
    return lambda: multiply(a, b, out=out), lambda: None


def vedette_matmul(size: int, dtype: str, threads: int) -> Side:
    """Products of Vedette."""
    runtime.set_num_threads(threads)
    return _matmul(size, dtype, vd.tensor.matmul)


def numpy_matmul(size: int, dtype: str, threads: int) -> Side:
    """Products of NumPy, whose BLAS reads the number of threads from the environment."""
    del threads
    return _matmul(size, dtype, np.matmul)


SIDES: dict[str, Callable[..., Side]] = {"vedette-matmul": vedette_matmul, "numpy-matmul": numpy_matmul}


def small_product(size: int) -> Case:
    """A product so small that the call itself counts."""
    a, b, out = operands(size, "float32")
    other = np.empty_like(out)
    return Case(
        f"matmul float32 {size}",
        "NumPy",
        lambda isa: _native.matmul(a, b, out, 1, isa),
        lambda: np.matmul(a, b, out=other),
        0.0,
        target=1,
    )


def repeated(case: Case, pairs: int, speed: float, floor_ms: float | None) -> Measured:
    """The case with as many calls to a sample as take a fifth of a millisecond; times are of one call."""
    best = runtime.isa()
    case.ours(best)
    once = min(timed(lambda: case.ours(best)) for _ in range(5))
    count = max(1, int(0.2 / once))

    def often(call: Callable[..., Any]) -> Callable[..., None]:
        def calls(*arguments: Any) -> None:
            for _ in range(count):
                call(*arguments)

        return calls

    many = replace(case, ours=often(case.ours), theirs=often(case.theirs), megabytes=case.megabytes * count)
    found = measure(many, 1, pairs, speed, "tensor")
    return replace(
        found,
        ours_ms=found.ours_ms / count,
        peer_ms=found.peer_ms / count,
        floor_ms=found.floor_ms / count if floor_ms is None else floor_ms,
        levels_ms={isa: ms / count for isa, ms in found.levels_ms.items()},
    )


def cases(threads: int) -> Iterator[Case]:
    """Arithmetic and reductions, small and large; a bias of a channel; softmax of rows."""
    random = np.random.default_rng(0)
    for name, count in (("16 values", 16), ("1000 values", 1000), ("a million values", 1_000_000)):
        a, b, out = random.random((3, count), dtype=np.float32)
        megabytes = 4 * count / 1e6
        yield Case(
            f"add float32, {name}",
            "NumPy",
            lambda isa, a=a, b=b, o=out: _native.add(a, b, o, threads, isa),
            lambda a=a, b=b, o=out: np.add(a, b, out=o),
            3 * megabytes,
        )
        factor = np.float32(1.5)
        yield Case(
            f"scale float32 in place, {name}",
            "NumPy",
            lambda isa, a=a: _native.scale(a, 1.0, a, threads, isa),
            lambda b=b, f=factor / factor: np.multiply(b, f, out=b),
            2 * megabytes,
        )
        yield Case(
            f"sum float32, {name}",
            "NumPy",
            lambda isa, a=a: _native.reduce("sum", a, None, False, None, threads, isa),
            lambda a=a: np.sum(a),
            megabytes,
        )
    image, bias = random.random((56, 56, 64), dtype=np.float32), random.random(64, dtype=np.float32)
    result = np.empty_like(image)
    yield Case(
        "add a bias to 56 x 56 x 64",
        "NumPy",
        lambda isa: _native.add(image, bias, result, threads, isa),
        lambda: np.add(image, bias, out=result),
        2 * image.nbytes / 1e6,
    )
    scores = random.random((256, 1000), dtype=np.float32)
    softmax = np.empty_like(scores)

    def numpy_softmax() -> None:
        np.subtract(scores, scores.max(axis=1, keepdims=True), out=softmax)
        np.exp(softmax, out=softmax)
        np.divide(softmax, softmax.sum(axis=1, keepdims=True), out=softmax)

    yield Case(
        "softmax of 256 x 1000",
        "NumPy",
        lambda isa: _native.softmax(scores, -1, softmax, threads, isa),
        numpy_softmax,
        2 * scores.nbytes / 1e6,
    )


def two_threads(pairs: int, rate: float) -> Measured:
    """Products of 512 x 512, as many by two Python threads at once as by one after the other."""
    size, count = 512, 16
    runtime.set_num_threads(1)
    sets = [operands(size, "float32") for _ in range(2)]

    def work(index: int) -> None:
        a, b, out = sets[index]
        for _ in range(count):
            vd.tensor.matmul(a, b, out=out)

    def together() -> None:
        other = threading.Thread(target=work, args=(1,))
        other.start()
        work(0)
        other.join()

    def in_turn() -> None:
        work(0)
        work(1)

    case = Case(
        f"{2 * count} matmuls of 512, two Python threads",
        "one",
        lambda _: together(),
        in_turn,
        0.0,
        levels=False,
        target=1.9,
    )
    found = measure(case, 2, max(5, pairs // 2), 1.0, "tensor")
    return replace(found, floor_ms=2 * count * size**3 / rate)
