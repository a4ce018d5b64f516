"""Interleaved pairs: two workers take turns, and the ratio of a pair is what counts."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

HEADER = (
    f"{'case':30}{'threads':>8}{'wall ms':>20}{'ratio':>7}{'CPU ms':>20}{'ratio':>7}{'peak MB':>13}"
    "  agreement\n"
    f"{'':38}{'Vedette / peer':>20}{'':7}{'Vedette / peer':>20}"
)


@dataclass(frozen=True)
class Times:
    """Seconds a call of one side: wall and CPU, the least and the median turn; peak memory of its process."""

    wall_min: float
    wall_median: float
    cpu_min: float
    cpu_median: float
    peak_mb: float


@dataclass(frozen=True)
class Record:
    """One comparison. A ratio is Vedette's time over the peer's, the median over pairs.

    ``cpu_target`` and ``peak_target`` are the most that is wanted of the ratios of CPU and peak memory.
    """

    group: str
    case: str
    threads: int
    pairs: int
    peer: str
    vedette_times: Times
    peer_times: Times
    wall_ratio: float
    cpu_ratio: float
    agreement: str
    cpu_target: float | None = None
    peak_target: float | None = None

    @property
    def peak_ratio(self) -> float:
        """Vedette's peak memory over the peer's."""
        return self.vedette_times.peak_mb / self.peer_times.peak_mb

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def line(self) -> str:
        """One row: medians of both sides, their ratios, peak memory, and how far the results agree."""
        ours, theirs = self.vedette_times, self.peer_times
        wall = f"{ours.wall_median * 1e3:.1f} / {theirs.wall_median * 1e3:.1f}"
        cpu = f"{ours.cpu_median * 1e3:.1f} / {theirs.cpu_median * 1e3:.1f}"
        peak = f"{ours.peak_mb:.0f} / {theirs.peak_mb:.0f}"
        notes = self.agreement
        for what, ratio, target in (
            ("CPU", self.cpu_ratio, self.cpu_target),
            ("peak", self.peak_ratio, self.peak_target),
        ):
            if target is not None:
                notes += (
                    f"; {what} {ratio:.3f} of at most {target:.3g}: {'met' if ratio <= target else 'missed'}"
                )
        return (
            f"{self.case:30}{self.threads:8}{wall:>20}{self.wall_ratio:7.2f}{cpu:>20}"
            f"{self.cpu_ratio:7.2f}{peak:>13}  {notes}"
        )


class Worker:
    """A process that holds one side ready and calls it when told."""

    def __init__(self, side: str, *, module: str = "vedette.bench.worker", **settings: Any) -> None:
        self.side = side
        threads = str(settings.get("threads", 1))
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, side, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
        )
        self._receive()

    def turn(self) -> tuple[float, float]:
        """Wall and CPU seconds of a call, the mean of a turn."""
        answer = self._ask("turn")
        return answer["wall"], answer["cpu"]

    def result(self) -> Any:
        """What the side computes, for comparison."""
        return self._ask("result")["result"]

    def finish(self) -> float:
        """End the process; its peak memory in MB."""
        peak = float(self._ask("finish")["peak_mb"])
        self._process.wait()
        return peak

    def _ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the {self.side} side ended early, status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def compare(
    group: str,
    case: str,
    ours: Worker,
    theirs: Worker,
    *,
    threads: int,
    pairs: int,
    agree: Any,
    cpu_target: float | None = None,
    peak_target: float | None = None,
) -> Record:
    """Check that both sides compute the same, then time them in turn."""
    agreement = agree(ours.result(), theirs.result())
    for worker in (ours, theirs):
        worker.turn()
    samples: dict[str, list[tuple[float, float]]] = {ours.side: [], theirs.side: []}
    for index in range(pairs):
        order = (ours, theirs) if index % 2 == 0 else (theirs, ours)
        for worker in order:
            samples[worker.side].append(worker.turn())
    a, b = np.array(samples[ours.side]), np.array(samples[theirs.side])
    ratios = np.median(a / b, axis=0)
    return Record(
        group,
        case,
        threads,
        pairs,
        theirs.side,
        _times(a, ours.finish()),
        _times(b, theirs.finish()),
        float(ratios[0]),
        float(ratios[1]),
        agreement,
        cpu_target,
        peak_target,
    )


def _times(samples: Any, peak_mb: float) -> Times:
    wall, cpu = samples[:, 0].tolist(), samples[:, 1].tolist()
    return Times(min(wall), statistics.median(wall), min(cpu), statistics.median(cpu), peak_mb)
