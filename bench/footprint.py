"""What quantised models take: bytes on file and in memory beside float32, and the time until they are ready.

ONNX Runtime creates a session of the model that its own tool quantised. Vedette packs weights when it first
runs, so the time until the first result is measured too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import vedette
from vedette.bench.pairs import Record, Worker, compare

LOADING_TARGET = 0.2
"""The most that is wanted of the ratio of CPU seconds of loading."""


@dataclass(frozen=True)
class Size:
    """Bytes of a quantised model, as shares of float32's, and the most that is wanted of both."""

    group: str
    case: str
    file: float
    resident: float
    target: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def line(self) -> str:
        """One row."""
        met = "met" if max(self.file, self.resident) <= self.target else "missed"
        shares = f"{self.file:8.3f} of float32 on file{self.resident:8.3f} in memory"
        return f"{self.case:30}{shares}  at most {self.target:g}: {met}"


def resident_bytes(model: vedette.Model, x: Any) -> int:
    """Weights, in the order of the kernels or as they come, once the model has run."""
    model(x)
    held = model._engine.memory()  # type: ignore[attr-defined]
    return int(held["constants"] + held["packed"])


def size(case: str, exact: Path, quantized: Path, x: Any, target: float) -> Size:
    """Of a saved quantised model beside the float32 model of an ONNX file."""
    before = vedette.load(exact, threads=1)
    whole = before.save(quantized.with_name(f"{quantized.stem}-float.vedette"))
    after = vedette.load(quantized, threads=1)
    return Size(
        "footprint",
        case,
        quantized.stat().st_size / whole.stat().st_size,
        resident_bytes(after, x) / resident_bytes(before, x),
        target,
    )


def loading(case: str, ours: Path, theirs: Path, x: Path, threads: int, pairs: int) -> Iterator[Record]:
    """A saved model loaded beside a session created; then with the first run."""
    for what, run, target in (("load", False, LOADING_TARGET), ("load, first run", True, None)):
        settings = {"x": str(x), "threads": threads, "run": run}
        mine = Worker("vedette-load", module="bench.worker", path=str(ours), **settings)
        other = Worker("onnxruntime-load", module="bench.worker", path=str(theirs), **settings)
        yield compare(
            "footprint",
            f"{case} {what}",
            mine,
            other,
            threads=threads,
            pairs=pairs,
            agree=lambda _a, _b: "",
            cpu_target=target,
        )
