"""A screen recording through Vedette, and through the usual loop that reads every sampled frame.

The usual loop is PyAV and RapidOCR on ONNX Runtime with the same models, on a frame a second. It takes
seconds a frame: by default it reads frames spread evenly over the recording, and the CPU of those is scaled
up to all of them. Each side has a process of its own and one thread.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vedette.bench.recording import frames, standing, write
from vedette.bench.still import RATE, shares_of_core
from vedette.bench.target import Target
from vedette.bench.worker import peak_mb
from vedette.errors import VedetteError
from vedette.runtime.resident import resident_bytes

HEADER = "a screen recording, a frame a second"
PEERS = ("av", "rapidocr", "onnxruntime")
NAMES = {"vedette": "Vedette", "usual": "usual loop"}
SAMPLE_S = 1.0


@dataclass(frozen=True)
class Settings:
    """What is compared, and how.

    Attributes
    ----------
    seconds
        Length of the recording.
    peer_frames
        Frames that the usual loop reads at most.
    realtime
        Whether Vedette watches it as a screen that shows it, rather than as fast as it goes.
    cpu
        Vedette's budget, as for ``vedette watch``.
    """

    seconds: int = 60
    peer_frames: int = 6
    realtime: bool = False
    cpu: str | None = None


class Meter:
    """CPU seconds and resident memory of this process, once a second, on a thread of its own."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float, float]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        start = time.monotonic()
        done = False
        while True:
            held = (resident_bytes() or 0) / 1e6
            self.samples.append((time.monotonic() - start, time.process_time(), held))
            if done:
                return
            done = self._done.wait(SAMPLE_S)

    def stop(self) -> list[tuple[float, float, float]]:
        """The samples."""
        self._done.set()
        self._thread.join()
        return self.samples


def vedette_side(path: Path, settings: Settings) -> dict[str, Any]:
    """Vedette's watch, with a store."""
    from vedette.ocr import Reader
    from vedette.runtime import Budget
    from vedette.sources import Frame, Source, SourceEnded
    from vedette.store import Store
    from vedette.watch import ReadTask, Watcher

    class Replay(Source):
        """The recording as a screen that shows it, or as fast as it is read."""

        live = settings.realtime

        def open(self) -> None:
            self._frames = enumerate(frames(path))
            self._began = time.monotonic()
            self._shown: Any = next(self._frames)

        def read(self, timeout_s: float) -> Frame | None:
            del timeout_s
            if settings.realtime:
                second = int(time.monotonic() - self._began)
                while self._shown is not None and self._shown[0] < second:
                    self._shown = next(self._frames, None)
                if self._shown is None:
                    raise SourceEnded
                second, pixels = self._shown
                return Frame((pixels,), "rgb", second, time.time(), float(second))
            if self._shown is None:
                raise SourceEnded
            (second, pixels), self._shown = self._shown, next(self._frames, None)
            return Frame((pixels,), "rgb", second, time.time(), float(second))

    told: dict[str, None] = {}
    budget = Budget(cpu=settings.cpu)
    reader = Reader(threads=1)
    with tempfile.TemporaryDirectory() as place:
        store = Store(Path(place) / "seen.db")
        watcher = Watcher(
            [Replay("screen")],
            lambda _: [ReadTask(reader, slice=budget.slice)],
            store=store,
            on_event=lambda event: told.setdefault(event.text),
            budget=budget,
        )
        # From here on: loading the networks is not watching.
        start, wall, meter = time.process_time(), time.monotonic(), Meter()
        watcher.run()
        used, took = time.process_time() - start, time.monotonic() - wall
        samples = meter.stop()
        with Store(store.path, readonly=True) as seen:
            size = seen.stats()
    status = watcher.status()
    (health,) = status["sources"]
    return {
        "cpu_s": used,
        "wall_s": took,
        "failed": health["detail"] if health["state"] == "failed" else "",
        "read": health["processed"],
        "stages": status["cpu_s"],
        "told": list(told),
        "samples": samples,
        "peak_mb": peak_mb(),
        "store_mb": size.bytes / 1e6,
        "sightings": size.sightings,
        "allowed_cores": budget.target_cores,
    }


def usual_side(path: Path, settings: Settings) -> dict[str, Any]:
    """Every frame, or so many of them, through RapidOCR."""
    import logging

    from rapidocr import RapidOCR

    logging.disable(logging.CRITICAL)
    ocr: Any = RapidOCR(params={"Global.use_cls": False, "EngineConfig.onnxruntime.intra_op_num_threads": 1})
    count = min(settings.peer_frames, settings.seconds)
    chosen = {number * settings.seconds // count for number in range(count)}
    told: dict[str, None] = {}
    ocr(next(iter(frames(path)))[:, :, ::-1].copy())
    start, wall, meter = time.process_time(), time.monotonic(), Meter()
    reading = 0.0
    for second, pixels in enumerate(frames(path)):
        if second in chosen:
            before = time.process_time()
            told.update(dict.fromkeys(ocr(pixels[:, :, ::-1].copy()).txts or ()))
            reading += time.process_time() - before
    used, took = time.process_time() - start, time.monotonic() - wall
    return {
        "cpu_s": used - reading + reading * settings.seconds / count,
        "wall_s": took,
        "read": count,
        "told": list(told),
        "samples": meter.stop(),
        "peak_mb": peak_mb(),
    }


def words_found(lines: list[str], told: list[str]) -> tuple[int, int]:
    """Words of the true lines that stand in the told line most like each, and how many there are."""
    by_word: dict[str, list[int]] = {}
    bags = [Counter(text.split()) for text in told]
    for index, bag in enumerate(bags):
        for word in bag:
            by_word.setdefault(word, []).append(index)
    found = total = 0
    for line in lines:
        wanted = Counter(line.split())
        total += wanted.total()
        candidates = Counter(index for word in wanted for index in by_word.get(word, ()))
        found += max(((wanted & bags[index]).total() for index, _ in candidates.most_common(20)), default=0)
    return found, total


def most_share(samples: list[tuple[float, float, float]], window_s: float = 10.0) -> float:
    """The largest share of a core over any ten seconds."""
    best = 0.0
    start = 0
    for end in range(len(samples)):
        while samples[end][0] - samples[start][0] > window_s + 0.5:
            start += 1
        span = samples[end][0] - samples[start][0]
        if span >= window_s - 0.5:
            best = max(best, (samples[end][1] - samples[start][1]) / span)
    return best


def gate_ms(calls: int = 60) -> float:
    """CPU milliseconds to find an equal 1080p RGB frame unchanged, three of them in turn."""
    import numpy as np

    from vedette import _native

    frame = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    frames = [frame, frame.copy(), frame.copy()]
    gate = _native.ChangeGate(16, False)
    gate.compare(frame)
    gate.accept(frame)
    times = []
    for call in range(calls):
        start = time.thread_time()
        gate.compare(frames[call % len(frames)])
        times.append(time.thread_time() - start)
    return 1000 * sorted(times)[calls // 2]


def run_side(side: str, path: Path, settings: Settings) -> dict[str, Any]:
    """A side in a process of its own."""
    command = [sys.executable, "-m", "vedette.bench.watch", side, str(path), json.dumps(vars(settings))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@dataclass
class Comparison:
    """Both sides, by name."""

    settings: Settings
    sides: dict[str, dict[str, Any]] = field(default_factory=dict)
    gate_ms: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        facts = {"group": "watch", **vars(self.settings), "gate_ms": self.gate_ms}
        return facts | {NAMES[side]: record for side, record in self.sides.items()}

    def line(self) -> str:
        """A row a side, and how they compare."""
        seconds = self.settings.seconds
        rows = [f"{'':12}{'CPU s':>9}{'of a core':>11}{'peak MB':>9}{'words':>9}{'frames read':>13}"]
        for side, record in self.sides.items():
            # Of frames that were left out nothing can have been found.
            whole = side == "vedette" or record["read"] == seconds
            words = f"{100 * record['words_found'] / record['words']:.2f}%" if whole else "-"
            rows.append(
                f"{NAMES[side]:12}{record['cpu_s']:9.1f}{record['cpu_s'] / seconds:11.3f}"
                f"{record['peak_mb']:9.0f}{words:>9}{record['read']:13}"
            )
        ours, theirs = self.sides["vedette"], self.sides["usual"]
        stages = ", ".join(f"{stage} {used:.2f}" for stage, used in ours["stages"].items())
        rows.append(f"CPU: 1/{theirs['cpu_s'] / ours['cpu_s']:.1f}; Vedette's seconds by stage: {stages}")
        rows.append(
            f"Vedette's most of a core in 10 s: {ours['most_share_10s']:.2f}; "
            f"store {ours['store_mb']:.2f} MB; an unchanged frame at the gate: {self.gate_ms:.2f} ms CPU"
        )
        return "\n".join(rows)


def compare(settings: Settings) -> Comparison:
    """Draw a recording, send it through both sides, and count what they found."""
    comparison = Comparison(settings)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "recording.mkv"
        write(path, settings.seconds)
        truth = standing(path)
        for side in NAMES:
            record = comparison.sides[side] = run_side(side, path, settings)
            if failed := record.pop("failed", ""):
                raise VedetteError(f"the watch of the recording failed: {failed}")
            record["words_found"], record["words"] = words_found(truth, record.pop("told"))
            record["most_share_10s"] = most_share(record["samples"])
    comparison.gate_ms = gate_ms()
    return comparison


def targets(comparison: Comparison, still_s: float = 20.0) -> Iterator[Target]:
    """What a watch must reach."""
    row = partial(Target, group="watch")
    settings = comparison.settings
    ours, theirs = comparison.sides["vedette"], comparison.sides["usual"]
    length = f"a recording of {settings.seconds} s"
    less = theirs["cpu_s"] / ours["cpu_s"]
    note = "" if settings.seconds >= 600 else "of ten minutes, the first reading is a smaller part"
    yield row(f"{length}: times less CPU than the usual loop", less, "times", 30.0, True, note)
    yield row(f"{length}: words found", 100 * ours["words_found"] / ours["words"], "%", 99.0, True)
    yield row(f"{length}: peak memory", ours["peak_mb"], "MB", 400.0, False)
    if settings.cpu is not None:
        allowed = ours["allowed_cores"]
        yield row(
            f"{length}: most CPU in 10 s, of the budget",
            100 * ours["most_share_10s"] / allowed,
            "%",
            100.0,
            False,
            f"budget of {allowed:g} cores",
        )
    yield row("an unchanged frame of 1080p at the gate: CPU", comparison.gate_ms, "ms", 1.0, False)
    for what, share in shares_of_core(still_s):
        yield row(
            f"a still screen, {RATE:g} frame/s, {still_s:g} s: CPU", 100 * share, "% core", 0.5, False, what
        )


def run(threads: list[int], pairs: int, **settings: Any) -> Iterator[Comparison | Target]:
    """The comparison; with one thread a side, and in one turn, whatever is asked of other groups.

    Raises
    ------
    ModuleNotFoundError
        A peer is not installed.
    """
    del threads, pairs
    for name in PEERS:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"no module named {name}", name=name)
    return _rows(Settings(**settings))


def _rows(settings: Settings) -> Iterator[Comparison | Target]:
    comparison = compare(settings)
    yield comparison
    yield from targets(comparison)


if __name__ == "__main__":
    SIDES = {"vedette": vedette_side, "usual": usual_side}
    print(json.dumps(SIDES[sys.argv[1]](Path(sys.argv[2]), Settings(**json.loads(sys.argv[3])))))
