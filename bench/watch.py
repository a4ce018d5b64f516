"""A screen watched by Vedette, and by the usual loop that reads every sampled frame: CPU, memory, words
found.

``python -m bench.watch [--seconds 600] [--peer-frames N] [--realtime] [--cpu 25%] [--chart FILE]``

The usual loop is RapidOCR on ONNX Runtime with the same models, on every frame. It costs seconds a frame: by
default it reads frames spread evenly over the recording and its CPU is scaled up to all of them;
``--peer-frames 0`` leaves none out. Each side has a process of its own and one thread.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.recording import Recording, write

SAMPLE_S = 1.0


class Meter:
    """CPU seconds and resident memory of this process, once a second, on a thread of its own."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float, float]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        start = time.monotonic()
        while not self._done.wait(SAMPLE_S):
            held = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
            self.samples.append((time.monotonic() - start, time.process_time(), held))

    def stop(self) -> list[tuple[float, float, float]]:
        """The samples."""
        self._done.set()
        self._thread.join()
        return self.samples


def vedette_side(folder: Path, *, realtime: bool, cpu: str | None) -> dict[str, Any]:
    """Vedette's watch, with a store."""
    from vedette.bench.worker import peak_mb
    from vedette.ocr import Reader
    from vedette.runtime import Budget
    from vedette.sources import Frame, Source, SourceEnded
    from vedette.store import Store
    from vedette.watch import ReadTask, Watcher

    recording = Recording(folder)

    class Replay(Source):
        """The recording as a screen that shows it, or as fast as it is read."""

        live = realtime

        def open(self) -> None:
            self._start = time.monotonic()
            self._index = 0

        def read(self, timeout_s: float) -> Frame | None:
            del timeout_s
            second = int(time.monotonic() - self._start) if realtime else self._index
            if second >= len(recording.order):
                raise SourceEnded
            self._index += 1
            return Frame((recording.frame(second),), "rgb", second, time.time(), float(second))

    told: dict[str, None] = {}
    latencies: list[float] = []
    budget = Budget(cpu=cpu)
    reader = Reader(threads=1)
    tasks: list[ReadTask] = []

    def make(_: Source) -> list[ReadTask]:
        tasks.append(ReadTask(reader, slice=budget.slice))
        return tasks

    def listen(event: Any) -> None:
        told.setdefault(event.text)
        latencies.append(time.time() - event.at)

    with tempfile.TemporaryDirectory() as place:
        store = Store(Path(place) / "seen.db")
        watcher = Watcher([Replay("screen")], make, store=store, on_event=listen, budget=budget)
        # From here on: loading the networks is not watching.
        start, wall, meter = time.process_time(), time.monotonic(), Meter()
        watcher.run()
        used, took = time.process_time() - start, time.monotonic() - wall
        samples = meter.stop()
        with Store(store.path, readonly=True) as seen:
            size = seen.stats()
    counts = tasks[0].incremental
    latencies.sort()
    return {
        "cpu_s": used,
        "wall_s": took,
        "frames": watcher.status()["sources"][0]["seen"],
        "processed": watcher.status()["sources"][0]["processed"],
        "stages": watcher.status()["cpu_s"],
        "told": list(told),
        "samples": samples,
        "peak_mb": peak_mb(),
        "store_mb": size.bytes / 1e6,
        "sightings": size.sightings,
        "latency_p95_s": latencies[int(0.95 * len(latencies))] if latencies else None,
        "reading": {name: getattr(counts.counts, name) for name in counts.counts.__slots__} if counts else {},
    }


def usual_side(folder: Path, *, frames: int) -> dict[str, Any]:
    """Every frame, or so many of them, through RapidOCR."""
    import logging

    from rapidocr import RapidOCR

    from vedette.bench.worker import peak_mb

    logging.disable(logging.CRITICAL)
    recording = Recording(folder)
    ocr = RapidOCR(params={"Global.use_cls": False, "EngineConfig.onnxruntime.intra_op_num_threads": 1})
    total = len(recording.order)
    count = min(frames, total) or total
    told: dict[str, None] = {}
    ocr(recording.frame(0)[:, :, ::-1].copy())
    start, wall, meter = time.process_time(), time.monotonic(), Meter()
    for number in range(count):
        second = number * total // count
        told.update(dict.fromkeys(ocr(recording.frame(second)[:, :, ::-1].copy()).txts or ()))
    used, took = time.process_time() - start, time.monotonic() - wall
    return {
        "cpu_s": used * total / count,
        "wall_s": took,
        "frames": count,
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


def run_side(side: str, folder: Path, **settings: Any) -> dict[str, Any]:
    """A side in a process of its own."""
    command = [sys.executable, "-m", "bench.watch", "--side", side, "--folder", str(folder)]
    command += ["--settings", json.dumps(settings)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def chart(records: dict[str, dict[str, Any]], path: Path) -> None:
    """CPU seconds and memory over time of both sides, as SVG."""
    width, height, left, gap = 860, 230, 70, 60
    colours = {"Vedette": "#1f6feb", "usual loop": "#d1242f"}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{2 * (height + gap)}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{2 * (height + gap)}" fill="white"/>',
    ]
    for row, (title, column) in enumerate((("CPU seconds used", 1), ("memory, MB", 2))):
        top = 40 + row * (height + gap)
        most = max(sample[column] for record in records.values() for sample in record["samples"]) or 1
        longest = max(record["samples"][-1][0] for record in records.values())
        parts.append(f'<text x="{left}" y="{top - 12}" font-weight="bold">{title}</text>')
        for step in range(5):
            y = top + height - step * height / 4
            label = f"{most * step / 4:.0f}"
            parts.append(f'<line x1="{left}" x2="{width - 20}" y1="{y}" y2="{y}" stroke="#ddd"/>')
            parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{label}</text>')
        for number, (name, record) in enumerate(records.items()):
            points = " ".join(
                f"{left + sample[0] / longest * (width - left - 20):.1f},"
                f"{top + height - sample[column] / most * height:.1f}"
                for sample in record["samples"]
            )
            colour = colours[name]
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
            place = left + 160 * (number + 1)
            parts.append(f'<text x="{place}" y="{top - 12}" fill="{colour}">{name}</text>')
    parts.append("</svg>")
    path.write_text("\n".join(parts))


def compare(
    seconds: int, peer_frames: int, *, realtime: bool, cpu: str | None, folder: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Draw a recording, watch it with both sides, and count what they found."""
    with tempfile.TemporaryDirectory() as place:
        if folder is None:
            folder = Path(place)
            write(folder, seconds)
        standing = Recording(folder).standing()
        records = {
            "Vedette": run_side("vedette", folder, realtime=realtime, cpu=cpu),
            "usual loop": run_side("usual", folder, frames=peer_frames),
        }
    for record in records.values():
        found, total = words_found(standing, record.pop("told"))
        record["words_found"], record["words"] = found, total
        record["most_share_10s"] = most_share(record["samples"])
    return records


def report(records: dict[str, dict[str, Any]], seconds: int) -> str:
    """A row a side."""
    rows = [f"{'':12}{'CPU s':>9}{'of a core':>11}{'peak MB':>9}{'words':>8}{'frames read':>13}"]
    for name, record in records.items():
        share = 100 * record["words_found"] / record["words"]
        whole = record.get("processed", record["frames"])
        sampled = name != "Vedette" and record["frames"] < seconds
        words = "-" if sampled else f"{share:.2f}%"
        rows.append(
            f"{name:12}{record['cpu_s']:9.1f}{record['cpu_s'] / seconds:11.3f}{record['peak_mb']:9.0f}"
            f"{words:>8}{whole:13}"
        )
    ours, theirs = records["Vedette"], records["usual loop"]
    rows.append(f"an unchanged frame at the gate: {gate_ms():.2f} ms CPU")
    rows.append(f"CPU ratio: 1/{theirs['cpu_s'] / ours['cpu_s']:.1f}; Vedette by stage: {ours['stages']}")
    rows.append(
        f"most of a core in 10 s: {ours['most_share_10s']:.2f}; change to event, 95th percentile: "
        f"{1000 * (ours['latency_p95_s'] or 0):.0f} ms; store {ours['store_mb']:.2f} MB; {ours['reading']}"
    )
    return "\n".join(rows)


def run(seconds: int = 60, peer_frames: int = 6) -> tuple[dict[str, Any], str]:
    """The short form: a record, and what to print."""
    records = compare(seconds, peer_frames, realtime=False, cpu=None)
    return {"group": "watch", "seconds": seconds, **records}, report(records, seconds)


def main() -> None:
    """Compare, or be a side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--peer-frames", type=int, default=12)
    parser.add_argument(
        "--realtime", action="store_true", help="a frame a second, instead of as fast as possible"
    )
    parser.add_argument("--cpu", help="Vedette's budget, as for vedette watch")
    parser.add_argument("--chart", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--folder", type=Path, help="a recording that was drawn before")
    parser.add_argument("--side", choices=("vedette", "usual"), help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, default={}, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        side = {"vedette": vedette_side, "usual": usual_side}[chosen.side]
        print(json.dumps(side(chosen.folder, **chosen.settings)))
        return
    records = compare(
        chosen.seconds, chosen.peer_frames, realtime=chosen.realtime, cpu=chosen.cpu, folder=chosen.folder
    )
    print(report(records, chosen.seconds))
    if chosen.chart:
        chart(records, chosen.chart)
    if chosen.json:
        chosen.json.write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    main()
