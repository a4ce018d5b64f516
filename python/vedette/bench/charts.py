"""Charts of measurements: how many times as fast as each peer, a bar a case."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(records: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Write ``GROUP-threads-N.svg`` for every group and number of threads among the records; their paths."""
    sets: dict[tuple[str, int], list[tuple[str, float]]] = defaultdict(list)
    for record in records:
        speedup = record.get("speedup") or (1 / record["wall_ratio"] if record.get("wall_ratio") else None)
        if speedup is not None:
            name = f"{record['case']} ({record['peer']})"
            sets[record["group"], record["threads"]].append((name, speedup))
    folder.mkdir(parents=True, exist_ok=True)
    return [_bars(group, threads, bars, folder) for (group, threads), bars in sets.items()]


def _bars(group: str, threads: int, bars: list[tuple[str, float]], folder: Path) -> Path:
    figure = Figure(figsize=(9, 1.2 + 0.32 * len(bars)), layout="constrained")
    axes = figure.subplots()
    names, speedups = zip(*reversed(bars), strict=True)
    colors = ["#2a7f62" if speedup >= 1 else "#b0413e" for speedup in speedups]
    drawn = axes.barh(range(len(names)), speedups, color=colors)
    axes.bar_label(drawn, labels=[f"{speedup:.2f}" for speedup in speedups], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("times the peer's speed")
    axes.set_title(f"{group}, {threads} thread{'s' if threads > 1 else ''}")
    path = folder / f"{group}-threads-{threads}.svg"
    figure.savefig(path)
    return path
